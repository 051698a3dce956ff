// The environment behind the empty pixels of pyramids, forward and backward, on the CPU.
//
// Only pixels without a point are looked at. They are collected in batches, and what leads from a pixel to its texels is
// done for a batch at a time. Backward, batches are kept until all are known; then every thread owns a band of the map's
// rows and adds to it what falls there, in the order of the batches: no atomics, and the same bits for any number of
// threads.
#pragma once

#include <cstddef>
#include <cstdint>

namespace unrender {

// An equirectangular map [D, height, width].
struct Map {
  int channels, height, width;
  std::size_t texels() const { return std::size_t(height) * width; }
};

// V pyramids of P pixels, all layers row by row, finest layer first; `views`: rows of `views.py`.
struct Pyramids {
  const double* views;
  std::size_t count;
  int height, width, layers;
  std::size_t pixels() const;  // P
};

// The features [V, P, D] of `drawn` into `filled`, plus the map's where `hits` [V, P] is 0.
void fill_environment(const Pyramids& pyramids, const Map& map, const float* texture, const std::int32_t* hits,
                      const float* drawn, float* filled, int threads);

// The gradient of the map, from that of the features [V, P, D] with steps between views, pixels and channels.
void pull_environment(const Pyramids& pyramids, const Map& map, const float* gradient, const std::ptrdiff_t step[3],
                      const std::int32_t* hits, float* texture, int threads);

}  // namespace unrender
