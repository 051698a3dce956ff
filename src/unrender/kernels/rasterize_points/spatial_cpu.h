// The derivative by all that moves points: see spatial.h and spatial.py.
#pragma once

#include "blocks.h"
#include "rasterizer.h"
#include "spatial.h"

namespace unrender {

// Which points carry the derivative.
enum class Carriers : int { ghosts, rendered, both };

struct Spatial {
  const float* image;     // [V, P, D], the environment in it
  const float* gradient;  // [V, P, D], of the image
  const std::int32_t* count;
  const float* depth;        // both [V, P], as the forward pass gave them
  const float* descriptors;  // [N, D]
  Carriers carriers;
  Moves moves;
  float slope;      // tangent of the steepest tilt that is still one surface
  float* position;  // [N, 3], zeros; null where nobody asks
  double* rows;     // [V, kViewFloats]; null where nobody asks
};

void spatial_gradient(const PointBlocks& blocks, const View* views, std::size_t count, const Settings& settings,
                      int channels, const Spatial& tensors, int threads);

}  // namespace unrender
