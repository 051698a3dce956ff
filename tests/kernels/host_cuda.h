// CUDA on the CPU, so that tests need no GPU: blocks one after the other, the threads of a block as fibers that take
// turns at barriers. What is left to chance on a GPU has one order here.
#pragma once

#include <math.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>
#include <functional>
#include <vector>

#define __host__
#define __device__
#define __global__
#define __shared__ static
#define __restrict__
#define __launch_bounds__(...)

struct Dim {
  unsigned x, y;
};
static Dim threadIdx, blockIdx, blockDim, gridDim;

template <class To, class From>
To same_bits(From from) {
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
inline int __float_as_int(float value) { return same_bits<int>(value); }
inline float __int_as_float(int bits) { return same_bits<float>(bits); }

template <class T, class U>
T atomicAdd(T* at, U value) { const T old = *at; *at = old + value; return old; }
template <class T, class U>
T atomicOr(T* at, U value) { const T old = *at; *at = old | value; return old; }
template <class T, class U>
T atomicMin(T* at, U value) { const T old = *at; *at = std::min<T>(old, value); return old; }
template <class T, class U>
T atomicMax(T* at, U value) { const T old = *at; *at = std::max<T>(old, value); return old; }

namespace host {

constexpr unsigned kThreads = 256;
constexpr size_t kStack = 1 << 16;

struct Fiber {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(kStack);
  bool done;
};
static std::vector<Fiber> fibers(kThreads);
static ucontext_t scheduler;
static const std::function<void()>* body;
static unsigned current;

inline void enter() {
  (*body)();
  fibers[current].done = true;
}

inline void run_block(const std::function<void()>& kernel) {
  body = &kernel;
  for (auto& fiber : fibers) {
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = &scheduler;
    fiber.done = false;
    makecontext(&fiber.context, enter, 0);
  }
  for (bool going = true; going;) {
    going = false;
    for (current = 0; current < kThreads; ++current) {
      if (fibers[current].done) continue;
      threadIdx = {current, 0};
      swapcontext(&scheduler, &fibers[current].context);
      going |= !fibers[current].done;
    }
  }
}

template <auto Kernel>
struct Launch;

// Calls a kernel as a launch does. `barriers`: whether its threads must wait for each other.
template <class... Arguments, void (*Kernel)(Arguments...)>
struct Launch<Kernel> {
  static void run(unsigned columns, unsigned rows, unsigned barriers, Arguments... arguments) {
    gridDim = {columns, rows};
    blockDim = {kThreads, 1};
    for (blockIdx.y = 0; blockIdx.y < rows; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < columns; ++blockIdx.x) {
        if (barriers) {
          run_block([&] { Kernel(arguments...); });
        } else {
          for (threadIdx = {0, 0}; threadIdx.x < kThreads; ++threadIdx.x) Kernel(arguments...);
        }
      }
  }
};

}  // namespace host

inline void __syncthreads() { swapcontext(&host::fibers[host::current].context, &host::scheduler); }

#define HOST_KERNEL(name) \
  extern "C" void* host_##name() { return reinterpret_cast<void*>(&host::Launch<name>::run); }
