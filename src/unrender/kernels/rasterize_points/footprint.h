// What a view can know of a block of points without looking at them, for CPU and GPU: a box, a cone of normals and the
// largest reaches say where a block may be seen, and how many of its points. In double: it must err on one side only.
#pragma once

#include "maths.h"

namespace unrender {

constexpr unsigned kBlock = 256;  // points
constexpr unsigned kStep = 16;

// What a block's normals allow: all zero (everybody sees the points), within a cone, or unknown.
enum class Normals : int { zero, cone, mixed };

// `cuda_blocks.py` makes the same on the GPU, field by field.
struct Block {
  float center[3], half[3];  // box
  float radius;              // of a sphere around `center`
  float axis[3], spread[2];  // normals lie within an angle of (cos, sin) = spread around the axis
  Normals normals;
  float reach[kBlock / kStep];  // of every kStep-th point, falling; 0 where there is none
};

// Where a block may be seen: tiles [left, right) x [top, bottom), at most the first `count` of its points. 0: nowhere.
struct Footprint {
  unsigned short left = 0, right = 0, top = 0, bottom = 0;
  unsigned short count = 0;
  bool look_at_normals = false;
};

// What blocks are looked at with: one view, its image in tiles, and gamma (below 0: nothing is discarded).
struct Window {
  View view;
  int height, width, tile;
  float gamma;
};

UNRENDER_HD double smaller(double a, double b) { return b < a ? b : a; }
UNRENDER_HD double larger(double a, double b) { return a < b ? b : a; }

struct Interval {
  double low, high;
};

UNRENDER_HD Interval operator+(Interval a, Interval b) { return {a.low + b.low, a.high + b.high}; }
UNRENDER_HD Interval operator*(Interval a, Interval b) {
  const double p = a.low * b.low, q = a.low * b.high, r = a.high * b.low, s = a.high * b.high;
  return {smaller(smaller(p, q), smaller(r, s)), larger(larger(p, q), larger(r, s))};
}
UNRENDER_HD Interval operator*(double a, Interval b) { return Interval{a, a} * b; }
UNRENDER_HD Interval operator+(double a, Interval b) { return Interval{a, a} + b; }
UNRENDER_HD Interval square(Interval a) {
  const double low = a.low * a.low, high = a.high * a.high;
  return {a.low <= 0 && a.high >= 0 ? 0.0 : smaller(low, high), larger(low, high)};
}

// Slopes that no image reaches; finite, so that no product becomes NaN.
constexpr double kSteepest = 1e9;

// side / depth for a box that may reach behind the camera.
UNRENDER_HD Interval slopes(Interval side, Interval depth, double steepest) {
  Interval result;
  if (depth.low > 0) {
    result = side * Interval{1 / depth.high, 1 / depth.low};
  } else {
    result = {side.low > 0 ? side.low / depth.high : -kSteepest, side.high < 0 ? side.high / depth.high : kSteepest};
  }
  return {larger(result.low, -steepest), smaller(result.high, steepest)};
}

// One axis of the box in camera axes, widened by what float32 arithmetic may be wrong by.
UNRENDER_HD Interval box_in_camera(const Block& block, const View& view, int axis) {
  constexpr double kRounding = 1e-6;
  const float* row = view.rotation + 3 * axis;
  double center = view.translation[axis], half = 0, size = fabs(double(view.translation[axis]));
  for (int k = 0; k < 3; ++k) {
    center += double(row[k]) * block.center[k];
    half += fabs(double(row[k])) * block.half[k];
    size += fabs(double(row[k])) * (fabs(double(block.center[k])) + block.half[k]);
  }
  half += kRounding * size;
  return {center - half, center + half};
}

// Tiles [first, last) of an interval on the plane at focal length 1, widened by rounding; false where it misses the
// image.
UNRENDER_HD bool tiles(double focal, Interval at, double center, int size, int tile, unsigned short& first,
                       unsigned short& last) {
  at = center + focal * at;
  const double slack = 0.01 + 1e-5 * (larger(fabs(at.low), fabs(at.high)) + fabs(center));
  const double low = at.low - slack, high = at.high + slack;
  if (!(low < size && high >= 0)) return false;
  first = static_cast<unsigned short>(larger(low, 0.0) / tile);
  last = static_cast<unsigned short>(smaller(high, size - 1.0) / tile + 1);
  return true;
}

// More than any magnification among slopes with squares up to `s` and depths from `nearest`.
UNRENDER_HD double most_magnification(const Lens& lens, double s, double nearest) {
  if (!(nearest > 0)) return 1e300;
  const double radial = 1 + 3 * fabs(double(lens.k1)) * s + 5 * fabs(double(lens.k2)) * s * s;
  const double tangential = 8 * (fabs(double(lens.p1)) + fabs(double(lens.p2))) * sqrt(s);
  return larger(lens.mx, lens.my) * (radial + tangential) * sqrt(1 + s) / nearest * (1 + 1e-4);
}

// Whether every point of the block faces away from the eye; `all_face`: whether every point faces it.
UNRENDER_HD bool faces_away(const Block& block, const View& view, bool& all_face) {
  all_face = block.normals == Normals::zero;
  if (block.normals != Normals::cone) return false;
  double along = 0, squared = 0, size = block.radius;
  for (int axis = 0; axis < 3; ++axis) {
    const double way = double(block.center[axis]) - view.eye[axis];
    along += way * block.axis[axis];
    squared += way * way;
    size += fabs(double(block.center[axis])) + fabs(double(view.eye[axis]));
  }
  const double distance = sqrt(squared), margin = block.radius + 1e-5 * size;
  const double across = sqrt(larger(squared - along * along, 0.0));
  const double cosine = block.spread[0], sine = block.spread[1];
  // normal . way, over all normals of the cone, lies between these.
  const double least = along > -distance * cosine ? along * cosine - across * sine : -distance;
  const double most = along < distance * cosine ? along * cosine + across * sine : distance;
  all_face = most < -margin;
  return least > margin;
}

// Where a block of `size` points may be seen.
UNRENDER_HD Footprint footprint(const Block& block, unsigned size, const Window& window) {
  const View& view = window.view;
  const Lens& lens = view.lens;
  Footprint seen;
  bool all_face;
  if (faces_away(block, view, all_face)) return seen;
  const Interval depth = box_in_camera(block, view, 2);
  if (!(depth.high > 0)) return seen;
  const double valid = double(lens.valid) * (1 + 1e-5);
  const double steepest = smaller(sqrt(valid), kSteepest);
  const Interval x = slopes(box_in_camera(block, view, 0), depth, steepest);
  const Interval y = slopes(box_in_camera(block, view, 1), depth, steepest);
  if (!(x.low <= x.high && y.low <= y.high)) return seen;
  Interval s = square(x) + square(y);
  if (s.low > valid) return seen;
  s.high = smaller(s.high, valid);
  const Interval radial = 1 + s * (double(lens.k1) + double(lens.k2) * s);
  const Interval twice_xy = 2 * (x * y);
  const Interval u = x * radial + double(lens.p1) * twice_xy + double(lens.p2) * (s + 2 * square(x));
  const Interval v = y * radial + double(lens.p2) * twice_xy + double(lens.p1) * (s + 2 * square(y));
  if (!tiles(lens.fx, u, lens.cx, window.width, window.tile, seen.left, seen.right)) return seen;
  if (!tiles(lens.fy, v, lens.cy, window.height, window.tile, seen.top, seen.bottom)) return seen;
  seen.look_at_normals = !all_face;
  unsigned count = size;
  if (window.gamma > 0) {
    // In whole steps: which of the last points are drawn is decided point by point.
    const double most = window.gamma * most_magnification(lens, s.high, depth.low);
    unsigned steps = 0;
    for (const float far : block.reach) steps += far * most > 1;
    count = steps * kStep < size ? steps * kStep : size;
  }
  seen.count = static_cast<unsigned short>(count);
  return seen;
}

}  // namespace unrender
