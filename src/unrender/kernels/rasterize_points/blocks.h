// Points in small blocks that lie together, and what a view can know of a block without looking at its points.
//
// Blocks are runs of kBlock points along a Morton curve. Inside a block the points stand by falling reach (radius over
// sqrt(1 - beta)), so that a view in which only the largest are drawn reads only the beginning.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "footprint.h"

namespace unrender {

// The geometry of a scene, sorted: about 32.5 bytes per point.
class PointBlocks {
 public:
  // position, normal [N, 3], radius, threshold [N]. Points that are not finite are left out: no view draws them.
  PointBlocks(const float* position, const float* normal, const float* radius, const float* threshold,
              std::size_t points, int threads);

  std::size_t blocks() const { return blocks_.size(); }
  std::size_t points() const { return index.size(); }
  std::uint32_t begin(std::size_t block) const { return static_cast<std::uint32_t>(block * kBlock); }
  std::uint32_t size(std::size_t block) const;
  std::size_t bytes() const;

  Footprint footprint(std::size_t block, const Window& window) const {
    return unrender::footprint(blocks_[block], size(block), window);
  }

  // Sorted; index is the point's place in the scene.
  std::vector<float> px, py, pz, nx, ny, nz, reach;
  std::vector<std::uint32_t> index;

 private:
  void sort_along_curve(const float* position, std::size_t points);
  void gather(const float* position, const float* normal, const float* radius, const float* threshold,
              std::size_t block);
  void measure(std::size_t block);
  void measure_normals(std::size_t block, Block& made) const;

  std::vector<Block> blocks_;
};

}  // namespace unrender
