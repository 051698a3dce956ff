// Points in small blocks that lie together, and what a view can know of a block without looking at its points.
//
// Blocks are runs of kBlock points along a Morton curve. Inside a block the points stand by falling reach (radius over
// sqrt(1 - beta)), so that a view in which only the largest are drawn reads only the beginning.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "maths.h"

namespace unrender {

constexpr std::uint32_t kBlock = 256;
constexpr std::uint32_t kStep = 16;

// What a block's normals allow: all zero (everybody sees the points), within a cone, or unknown.
enum class Normals : std::uint8_t { zero, cone, mixed };

struct Block {
  float center[3], half[3];  // box
  float radius;              // of a sphere around `center`
  float axis[3], spread[2];  // normals lie within an angle of (cos, sin) = spread around the axis
  Normals normals;
  float reach[kBlock / kStep];  // of every kStep-th point, falling; 0 where there is none
};

// Where a block may be seen: tiles [left, right) x [top, bottom), at most the first `count` of its points. 0: nowhere.
struct Footprint {
  std::uint16_t left = 0, right = 0, top = 0, bottom = 0;
  std::uint16_t count = 0;
  bool look_at_normals = false;
};

// What blocks are looked at with: one view, its image in tiles, and gamma (below 0: nothing is discarded).
struct Window {
  View view;
  int height, width, tile;
  float gamma;
};

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

  Footprint footprint(std::size_t block, const Window& window) const;

  // Sorted; index is the point's place in the scene.
  std::vector<float> px, py, pz, nx, ny, nz, reach;
  std::vector<std::uint32_t> index;

 private:
  void sort_along_curve(const float* position, std::size_t points);
  void gather(const float* position, const float* normal, const float* radius, const float* threshold,
              std::size_t block);
  void measure(std::size_t block);
  void measure_normals(std::size_t block, Block& made) const;
  bool faces_away(const Block& block, const View& view, bool& all_face) const;

  std::vector<Block> blocks_;
};

}  // namespace unrender
