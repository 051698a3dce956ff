#include "buffers.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace unrender {

namespace {

constexpr std::size_t kPage = std::size_t(1) << 21;  // a huge page
constexpr std::size_t kMostWaiting = 8;              // buffers

std::size_t rounded(std::size_t bytes) { return (std::max<std::size_t>(bytes, 1) + kPage - 1) / kPage * kPage; }

}  // namespace

void* allocate_pages(std::size_t number) {
  const std::size_t bytes = rounded(number);
#ifdef _WIN32
  void* memory = _aligned_malloc(bytes, kPage);
#else
  void* memory = std::aligned_alloc(kPage, bytes);
#endif
  if (memory == nullptr) throw std::bad_alloc();
#ifdef __linux__
  madvise(memory, bytes, MADV_HUGEPAGE);  // a wish; whether it is granted does not matter
#endif
  return memory;
}

void release_pages(void* memory) {
#ifdef _WIN32
  _aligned_free(memory);
#else
  std::free(memory);
#endif
}

Buffers& Buffers::shared() {
  static Buffers* buffers = new Buffers;  // tensors may outlive everything else
  return *buffers;
}

void* Buffers::take(std::size_t bytes) {
  const std::size_t room = rounded(bytes);
  std::lock_guard<std::mutex> lock(mutex_);
  auto best = buffers_.end();
  for (auto it = buffers_.begin(); it != buffers_.end(); ++it) {
    // Not one that is far too large: it would be missed elsewhere.
    const bool fits = !it->taken && it->bytes >= room && it->bytes <= 2 * room;
    if (fits && (best == buffers_.end() || it->bytes < best->bytes)) best = it;
  }
  if (best == buffers_.end()) best = buffers_.insert(buffers_.end(), {allocate_pages(room), room, false});
  best->taken = true;
  buffers_.splice(buffers_.end(), buffers_, best);
  return best->memory;
}

void Buffers::give(void* memory) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto is_it = [memory](const Buffer& buffer) { return buffer.memory == memory; };
  std::find_if(buffers_.begin(), buffers_.end(), is_it)->taken = false;
  const auto free = std::count_if(buffers_.begin(), buffers_.end(), [](const Buffer& b) { return !b.taken; });
  if (std::size_t(free) > kMostWaiting) drop_oldest_waiting();
}

void Buffers::drop_oldest_waiting() {
  const auto oldest = std::find_if(buffers_.begin(), buffers_.end(), [](const Buffer& b) { return !b.taken; });
  release_pages(oldest->memory);
  buffers_.erase(oldest);
}

std::size_t Buffers::waiting() {
  std::lock_guard<std::mutex> lock(mutex_);
  std::size_t sum = 0;
  for (const auto& buffer : buffers_) sum += buffer.taken ? 0 : buffer.bytes;
  return sum;
}

std::size_t Buffers::total() {
  std::lock_guard<std::mutex> lock(mutex_);
  std::size_t sum = 0;
  for (const auto& buffer : buffers_) sum += buffer.bytes;
  return sum;
}

}  // namespace unrender
