#include "threads.h"

#include <algorithm>

#ifndef _WIN32
#include <unistd.h>
#endif

namespace unrender {

namespace {

long process_number() {
#ifdef _WIN32
  return 0;  // no fork there
#else
  return static_cast<long>(getpid());
#endif
}

}  // namespace

Pool& Pool::shared() {
  static std::mutex guard;
  static Pool* pool = nullptr;  // never destroyed: joining threads while the interpreter ends may hang
  static long owner = -1;
  std::lock_guard<std::mutex> lock(guard);
  if (owner != process_number()) {
    pool = new Pool;  // the parent's, if any, is left alone
    owner = process_number();
  }
  return *pool;
}

Pool::~Pool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Pool::run(std::size_t tasks, int threads, const Work& work) {
  const int helpers = static_cast<int>(std::min<std::size_t>(std::max(threads, 1), tasks)) - 1;
  if (helpers <= 0) {
    for (std::size_t task = 0; task < tasks; ++task) work(task, 0);
    return;
  }
  std::lock_guard<std::mutex> only(one_call_);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    grow(helpers);
    work_ = &work;
    tasks_ = tasks;
    next_ = 0;
    error_ = nullptr;
    wanted_ = helpers;
    ++call_;
  }
  wake_.notify_all();
  take_tasks(0);
  std::unique_lock<std::mutex> lock(mutex_);
  wanted_ = 0;  // who has not woken up by now is not waited for
  done_.wait(lock, [this] { return busy_ == 0; });
  if (error_) std::rethrow_exception(error_);
}

void Pool::grow(int helpers) {
  while (static_cast<int>(threads_.size()) < helpers) {
    const int worker = static_cast<int>(threads_.size()) + 1;
    threads_.emplace_back([this, worker] { wait_for_work(worker); });
  }
}

void Pool::wait_for_work(int worker) {
  unsigned long long seen = 0;
  while (true) {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return stop_ || (call_ != seen && worker <= wanted_); });
      if (stop_) return;
      seen = call_;
      ++busy_;
    }
    take_tasks(worker);
    std::lock_guard<std::mutex> lock(mutex_);
    if (--busy_ == 0) done_.notify_one();
  }
}

void Pool::take_tasks(int worker) {
  try {
    for (std::size_t task = next_++; task < tasks_; task = next_++) (*work_)(task, worker);
  } catch (...) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!error_) error_ = std::current_exception();
    next_ = tasks_;
  }
}

}  // namespace unrender
