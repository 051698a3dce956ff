// A small pool of threads that sleep between calls.
//
// Not OpenMP: PyTorch brings its own OpenMP runtime, and two of them spinning against each other halve the speed of
// small machines.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace unrender {

class Pool {
 public:
  using Work = std::function<void(std::size_t task, int worker)>;

  // The pool of this process. A forked child gets a new one: threads do not survive a fork.
  static Pool& shared();

  // Calls work(task, worker) for every task in [0, tasks) on `threads` threads, the caller being worker 0. Which
  // thread gets which task is left to chance: results must not depend on it. Rethrows the first exception.
  void run(std::size_t tasks, int threads, const Work& work);

  ~Pool();

 private:
  void grow(int helpers);
  void wait_for_work(int worker);
  void take_tasks(int worker);

  std::mutex one_call_;  // held for a whole run
  std::mutex mutex_;     // guards what follows
  std::condition_variable wake_, done_;
  std::vector<std::thread> threads_;
  std::exception_ptr error_;
  const Work* work_ = nullptr;
  std::size_t tasks_ = 0;
  unsigned long long call_ = 0;
  int wanted_ = 0, busy_ = 0;
  bool stop_ = false;
  std::atomic<std::size_t> next_{0};
};

}  // namespace unrender
