// Large arrays that are used again. Fresh pages are slow at their first touch, and a renderer's images and gradients are
// of the same few sizes at every call: what one call gives back, the next one takes.
#pragma once

#include <cstddef>
#include <list>
#include <mutex>

namespace unrender {

// Memory in huge pages where the system grants them: places far apart are found faster.
void* allocate_pages(std::size_t bytes);
void release_pages(void* memory);

// The same for std::vector.
template <class Item>
struct HugePages {
  using value_type = Item;
  HugePages() = default;
  template <class Other>
  HugePages(const HugePages<Other>&) {}
  Item* allocate(std::size_t number) { return static_cast<Item*>(allocate_pages(number * sizeof(Item))); }
  void deallocate(Item* items, std::size_t) { release_pages(items); }
  bool operator==(const HugePages&) const { return true; }
};

class Buffers {
 public:
  // The buffers of this process; they live as long as it does.
  static Buffers& shared();

  // At least `bytes` bytes that nobody else has, aligned for vector units; their contents mean nothing.
  void* take(std::size_t bytes);
  // Takes back what `take` gave.
  void give(void* memory);
  // Bytes that wait to be taken, and all bytes.
  std::size_t waiting();
  std::size_t total();

 private:
  struct Buffer {
    void* memory;
    std::size_t bytes;
    bool taken;
  };
  void drop_oldest_waiting();

  std::mutex mutex_;
  std::list<Buffer> buffers_;  // most recently used last
};

}  // namespace unrender
