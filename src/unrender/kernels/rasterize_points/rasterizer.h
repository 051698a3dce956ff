// All views of a batch, forward and backward, on the CPU.
//
// The image is cut into tiles, see tiles.h. A tile takes the points of the blocks that may fall into it, in the order
// in which they stand: a pixel's sum always has the same order, whatever the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "blocks.h"

namespace unrender {

struct Settings {
  int height, width, layers;
  float alpha, band;        // band: 1 + alpha
  float gamma;              // below 0: nothing is discarded
  std::uint32_t ghosts;     // rate * 2^32
  std::uint64_t seed;

  // P, of all layers.
  std::size_t pixels() const {
    std::size_t sum = 0;
    for (int level = 0; level < layers; ++level)
      sum += std::size_t(((height - 1) >> level) + 1) * std::size_t(((width - 1) >> level) + 1);
    return sum;
  }
};

enum class Precision { float32, float16, bfloat16 };

// Tensors of a batch. P: pixels of all layers, row by row, finest layer first.
struct Forward {
  const void* descriptors;  // [N, D]
  Precision precision;      // theirs
  float* features;          // [V, P, D]
  std::int32_t* count;      // [V, P]
  float* depth;             // [V, P]
};

struct Backward {
  const float* gradient;  // of the features [V, P, D], with steps between views, pixels and channels:
  std::ptrdiff_t step[3];
  const std::int32_t* count;  // as the forward pass gave them
  const float* depth;
  float* descriptors;  // [N, D], zeros; the gradient is added
};

// Memory of one thread that is kept between calls.
struct Scratch {
  // Points of the tile: 16 * pixel in the tile + layers drawn, depth, place in the scene.
  std::vector<std::uint32_t> where, index;
  std::vector<float> depth;
  std::size_t points = 0;
  // Pixels of the tile, all layers.
  std::vector<float> nearest, sum;
  std::vector<std::int32_t> count;
};

// The blocks that may be seen in each tile of a view, in order.
struct Plan {
  struct Entry {
    std::uint32_t block;
    std::uint16_t count;
    bool look_at_normals;
  };
  Window window;
  int columns;
  std::uint32_t ghost_key;
  std::vector<Entry> entries;
  std::vector<std::size_t> begin;  // per tile, and the end twice

  std::size_t tiles() const { return begin.size() - 2; }
  int column(std::size_t tile) const { return static_cast<int>(tile) % columns; }
  int row(std::size_t tile) const { return static_cast<int>(tile) / columns; }
};

class Rasterizer {
 public:
  Rasterizer(const float* position, const float* normal, const float* radius, const float* threshold,
             std::size_t points, int threads)
      : blocks_(position, normal, radius, threshold, points, threads), scene_points_(points) {}

  void forward(const View* views, std::size_t count, const Settings& settings, int channels, const Forward& tensors,
               int threads);
  void backward(const View* views, std::size_t count, const Settings& settings, int channels, const Backward& tensors,
                int threads);
  // Projects and nothing more: how many points are drawn, over all views.
  std::size_t draw_nothing(const View* views, std::size_t count, const Settings& settings, int threads);

  const PointBlocks& blocks() const { return blocks_; }
  std::size_t scene_points() const { return scene_points_; }  // N, those left out included

 private:
  void prepare(const View& view, std::size_t number, const Settings& settings, int edge, int threads, Plan& plan);

  PointBlocks blocks_;
  std::size_t scene_points_;
  std::mutex one_call_;  // scratch is shared
  std::vector<Plan> plans_;
  std::vector<Footprint> footprints_;
  std::vector<Scratch> scratch_;
};

}  // namespace unrender
