// Points in small blocks that lie together, and what a view can know of a block without looking at its points.
//
// Blocks are runs of kBlock points along a Morton curve. Inside a block the points stand by falling reach (radius over
// sqrt(1 - beta)), so that a view in which only the largest are drawn reads only the beginning.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../buffers.h"
#include "footprint.h"

namespace unrender {

// kStep points of a block, laid out as one loop reads them: views that draw few points read little, and in one piece.
struct alignas(64) Lot {
  float x[kStep], y[kStep], z[kStep];
  float reach[kStep];
  std::uint32_t index[kStep];  // places in the scene
  float nx[kStep], ny[kStep], nz[kStep];
};

// The geometry of a scene, sorted: about 32.5 bytes per point.
class PointBlocks {
 public:
  // position, normal [N, 3], radius, threshold [N]. Points that are not finite are left out: no view draws them.
  PointBlocks(const float* position, const float* normal, const float* radius, const float* threshold,
              std::size_t points, int threads);

  std::size_t blocks() const { return blocks_.size(); }
  std::size_t points() const { return points_; }
  std::uint32_t size(std::size_t block) const;
  std::size_t bytes() const;
  // Those of a block. What is missing at the end of the last lot lies nowhere: no view draws it.
  const Lot* lots(std::size_t block) const { return lots_.data() + block * (kBlock / kStep); }

  Footprint footprint(std::size_t block, const Window& window) const {
    return unrender::footprint(blocks_[block], size(block), window);
  }

 private:
  std::vector<std::uint32_t> sort_along_curve(const float* position, std::size_t points);
  void gather(const float* position, const float* normal, const float* radius, const float* threshold,
              const std::uint32_t* index, std::size_t block);
  void measure(std::size_t block);
  void measure_normals(std::size_t block, Block& made) const;

  std::size_t points_;
  std::vector<Block> blocks_;
  std::vector<Lot, HugePages<Lot>> lots_;
};

}  // namespace unrender
