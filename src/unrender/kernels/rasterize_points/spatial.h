// How the image changes when a point moves by a pixel, for CPU and GPU alike: the arithmetic of spatial.py, which says what
// it means and what it leaves out (ADOP, section IV-B).
#pragma once

#include "maths.h"

namespace unrender {

// What a point's move is compared with: its whole surface moves, it alone does (Eq. 11), or depth is not looked at.
enum class Moves : int { together, alone, replace };

// What stands in a pixel: depth of the nearest point (+inf where none is) and blended points.
struct Stand {
  float depth;
  int count;
};

// The share of its difference that a point brings to the pixel in which it arrives (Eq. 11), and whether as much changes
// in the pixel that it leaves.
struct Arrival {
  float share;
  bool uncovers;
};

// `band`: 1 + the relative width of what counts as equal depth.
UNRENDER_HD float arrival_share(float depth, Stand there, float band) {
  if (depth * band < there.depth) return 1.0f;  // an empty pixel is infinitely far
  return depth > band * there.depth ? 0.0f : 1.0f / float(there.count + 1);
}

// Eq. 11 for a point whose neighbours move along, see `_together` in spatial.py. `fuzzy`: 1 + alpha; `band`: widened by
// what a slanted surface changes within one pixel.
UNRENDER_HD Arrival arrive_together(float depth, Stand home, Stand there, float fuzzy, float band) {
  if (!(depth <= fuzzy * home.depth)) return {0.0f, false};  // it is not part of the surface whose rim that is
  if (depth * band < there.depth) return {1.0f / float(home.count + 1), home.count > 0};
  return {arrival_share(depth, there, band), false};
}

// What a loss loses when the numbers that project a point change; in double, for sums over many points.
struct Pull {
  double position[3];
  double rotation[9], translation[3], focal[2], center[2], distortion[4];  // of the view's row
};

// The chain from d loss / d (u, v) [per fine pixel] of a point at (px, py, pz) to all that moved it there.
UNRENDER_HD Pull pull_back(const View& view, float px, float py, float pz, double by_u, double by_v) {
  const Lens& lens = view.lens;
  const double point[3] = {px, py, pz};
  double at[3];
  for (int row = 0; row < 3; ++row)
    at[row] = view.rotation[3 * row] * point[0] + view.rotation[3 * row + 1] * point[1] +
              view.rotation[3 * row + 2] * point[2] + view.translation[row];
  const double inverse = 1.0 / at[2], x = at[0] * inverse, y = at[1] * inverse;
  const double xx = x * x, yy = y * y, xy = x * y, s = xx + yy;
  const double k1 = lens.k1, k2 = lens.k2, p1 = lens.p1, p2 = lens.p2;
  const double radial = 1.0 + s * (k1 + k2 * s), slope = 2.0 * (k1 + 2.0 * k2 * s);
  // d'(x, y), which is symmetric.
  const double u_x = radial + slope * xx + 2.0 * p1 * y + 6.0 * p2 * x;
  const double u_y = slope * xy + 2.0 * p1 * x + 2.0 * p2 * y;
  const double v_y = radial + slope * yy + 2.0 * p2 * x + 6.0 * p1 * y;
  const double along_u = lens.fx * by_u, along_v = lens.fy * by_v;
  const double by_x = along_u * u_x + along_v * u_y, by_y = along_u * u_y + along_v * v_y;
  const double by_point[3] = {by_x * inverse, by_y * inverse, -(by_x * x + by_y * y) * inverse};  // in camera axes
  Pull pull;
  for (int k = 0; k < 3; ++k) {
    pull.position[k] = 0.0;
    pull.translation[k] = by_point[k];
    for (int row = 0; row < 3; ++row) {
      pull.position[k] += view.rotation[3 * row + k] * by_point[row];
      pull.rotation[3 * row + k] = by_point[row] * point[k];
    }
  }
  pull.focal[0] = by_u * (x * radial + 2.0 * p1 * xy + p2 * (s + 2.0 * xx));
  pull.focal[1] = by_v * (y * radial + 2.0 * p2 * xy + p1 * (s + 2.0 * yy));
  pull.center[0] = by_u, pull.center[1] = by_v;
  pull.distortion[0] = s * (along_u * x + along_v * y);
  pull.distortion[1] = s * pull.distortion[0];
  pull.distortion[2] = 2.0 * along_u * xy + along_v * (s + 2.0 * yy);
  pull.distortion[3] = along_u * (s + 2.0 * xx) + 2.0 * along_v * xy;
  return pull;
}

}  // namespace unrender
