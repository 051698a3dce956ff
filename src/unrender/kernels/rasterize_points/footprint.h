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

// Where a block may lie in the chart of a lens, for the places and magnifications that follow.
struct Reach {
  Interval x, y, s;   // s: of x^2 + y^2
  double nearest;     // least depth
  double turn;        // most by which a place moves when the direction turns by a unit; 1 for slopes
};

// More than any bound that is of use; finite, so that no product becomes NaN.
constexpr double kUnbounded = 1e300;

UNRENDER_HD double greatest(Interval a) { return larger(fabs(a.low), fabs(a.high)); }

// What the radial terms multiply by, where x^2 + y^2 = s.
template <Family F>
UNRENDER_HD Interval growth_over(const Lens& lens, Interval s) {
  const double k1 = lens.k1, k2 = lens.k2;
  if constexpr (F == Family::brown) return 1 + s * (k1 + k2 * s);
  const double k3 = lens.terms[0], k4 = lens.terms[1];
  if constexpr (F == Family::equidistant) return 1 + s * (k1 + s * (k2 + s * (k3 + k4 * s)));
  if constexpr (F == Family::rational) {
    const double k5 = lens.terms[2], k6 = lens.terms[3];
    const Interval above = 1 + s * (k1 + s * (k2 + k3 * s)), below = 1 + s * (k4 + s * (k5 + k6 * s));
    if (!(below.low > 1e-9)) return {-kSteepest, kSteepest};  // only for lack of a better bound: it is positive
    return above * Interval{1 / below.high, 1 / below.low};
  }
  return {1, 1};
}

// Where places of the chart land on the plane at focal length 1.
template <Family F>
UNRENDER_HD void bend_over(const Lens& lens, const Reach& at, Interval& u, Interval& v) {
  u = at.x, v = at.y;
  if constexpr (F == Family::ocam) {
    u = at.x + double(lens.terms[2]) * at.y;
    v = double(lens.terms[1]) * at.x + double(lens.terms[0]) * at.y;
  } else if constexpr (is_bent(F)) {
    const Interval radial = growth_over<F>(lens, at.s), twice_xy = 2 * (at.x * at.y);
    u = at.x * radial + double(lens.p1) * twice_xy + double(lens.p2) * (at.s + 2 * square(at.x));
    v = at.y * radial + double(lens.p2) * twice_xy + double(lens.p1) * (at.s + 2 * square(at.y));
    if constexpr (F == Family::equidistant) {
      u = u + double(lens.terms[2]) * at.s, v = v + double(lens.terms[3]) * at.s;
    } else if constexpr (F == Family::series) {
      u = u + at.s * (double(lens.terms[0]) + double(lens.terms[2]) * at.s);
      v = v + at.s * (double(lens.terms[1]) + double(lens.terms[3]) * at.s);
    }
  }
}

// More than any factor by which the plane is stretched where x^2 + y^2 is at most `s`.
template <Family F>
UNRENDER_HD double most_stretch(const Lens& lens, double s) {
  const auto size = [&lens](int term) { return fabs(double(lens.terms[term])); };
  if constexpr (F == Family::ocam) {
    return sqrt(1 + size(0) * size(0) + size(1) * size(1) + size(2) * size(2));
  } else if constexpr (is_bent(F)) {
    const double k1 = fabs(double(lens.k1)), k2 = fabs(double(lens.k2));
    double stretch = 1 + 3 * k1 * s + 5 * k2 * s * s;
    if constexpr (F == Family::rational) {
      const double below = 1 - s * (size(1) + s * (size(2) + s * size(3)));
      if (!(below > 1e-9)) return kUnbounded;
      const double above = 1 + s * (k1 + s * (k2 + s * size(0)));
      const double fall = s * (size(1) + s * (2 * size(2) + 3 * s * size(3)));
      stretch = (stretch + 7 * size(0) * s * s * s) / below + 2 * above * fall / (below * below);
    }
    stretch += 8 * (fabs(double(lens.p1)) + fabs(double(lens.p2))) * sqrt(s);
    if constexpr (F == Family::equidistant)
      stretch += s * s * s * (7 * size(0) + 9 * s * size(1)) + 2 * sqrt(s) * (size(2) + size(3));
    if constexpr (F == Family::series)
      stretch += 2 * sqrt(s) * (size(0) + size(1)) + 4 * s * sqrt(s) * (size(2) + size(3));
    return stretch;
  }
  return 1;
}

// False where the block lies outside what a lens of slopes sees.
template <Family F>
UNRENDER_HD bool reach_of_slopes(const Block& block, const View& view, Reach& at) {
  const Interval depth = box_in_camera(block, view, 2);
  if (!(depth.high > 0)) return false;
  const double valid = double(view.lens.valid) * (1 + 1e-5);
  const double steepest = smaller(sqrt(valid), kSteepest);
  at.x = slopes(box_in_camera(block, view, 0), depth, steepest);
  at.y = slopes(box_in_camera(block, view, 1), depth, steepest);
  if (!(at.x.low <= at.x.high && at.y.low <= at.y.high)) return false;
  at.s = square(at.x) + square(at.y);
  if (at.s.low > valid) return false;
  at.s.high = smaller(at.s.high, valid);
  at.nearest = depth.low;
  at.turn = sqrt(1 + at.s.high);
  return true;
}

// The block as a ball in camera axes, with what float32 arithmetic may be wrong by.
struct Ball {
  double x, y, z, radius;
};

UNRENDER_HD Ball ball_in_camera(const Block& block, const View& view) {
  double center[3], size = 0;
  for (int axis = 0; axis < 3; ++axis) {
    const float* row = view.rotation + 3 * axis;
    center[axis] = view.translation[axis], size += fabs(double(view.translation[axis]));
    for (int k = 0; k < 3; ++k) {
      center[axis] += double(row[k]) * block.center[k];
      size += fabs(double(row[k])) * (fabs(double(block.center[k])) + block.half[k]);
    }
  }
  return {center[0], center[1], center[2], block.radius * (1 + 1e-5) + 2e-6 * size};
}

// More than dR / dangle up to `angle` from the axis.
template <Family F>
UNRENDER_HD double most_slope(const Lens& lens, Interval angle) {
  const auto size = [&lens](int term) { return fabs(double(lens.terms[term])); };
  if constexpr (F == Family::equidistant) return 1;
  if constexpr (F == Family::fov) return larger(size(1), 1 / size(1)) / size(0);
  if constexpr (F == Family::series) {
    double sum = 1, power = 1;
    for (int order = 0; order < 6; ++order) power *= angle.high * angle.high, sum += (2 * order + 3) * size(4 + order) * power;
    return sum;
  }
  if constexpr (F == Family::ocam) {
    const double t = greatest(-1.5707963267948966 + angle);
    double sum = 0, power = 1;
    for (int order = 1; order < kSeries; ++order, power *= t) sum += order * size(3 + order) * power;
    return sum;
  }
  return kUnbounded;
}

// R over angles in which it grows; false where the chart has none of them.
template <Family F>
UNRENDER_HD bool radius_over(const Lens& lens, Interval angle, Interval& r) {
  const double rim = smaller(sqrt(double(lens.valid)), kSteepest) * (1 + 1e-5);
  const double widest = F == Family::ocam || F == Family::series ? double(lens.widest) : 3.15;
  if (angle.low > widest + 1e-5) return false;
  const double last = smaller(angle.high, widest);
  const Radius<double> low = radius<F>(lens, cos(angle.low), sin(angle.low), 1.0);
  const Radius<double> high = radius<F>(lens, cos(last), sin(last), 1.0);
  if constexpr (F == Family::unified || F == Family::division) {
    if (!low.there) return false;
    r = {low.value, high.there ? high.value : rim};
  } else {
    r = {larger(low.value, 0.0), larger(high.value, 0.0)};
  }
  const double slack = 1e-6 * (1 + r.high);
  r = {larger(r.low - slack, 0.0), smaller(r.high + slack, rim)};
  return r.low <= rim;
}

// False where the block lies outside what a lens of angles sees.
template <Family F>
UNRENDER_HD bool reach_of_angles(const Block& block, const View& view, Reach& at) {
  constexpr double kHalfTurn = 3.141592653589793, kSlack = 1e-5;
  const Ball ball = ball_in_camera(block, view);
  const double side = sqrt(ball.x * ball.x + ball.y * ball.y), distance = sqrt(side * side + ball.z * ball.z);
  Interval angles{0, kHalfTurn}, ex{-1, 1}, ey{-1, 1};
  if (distance > ball.radius) {
    const double middle = atan2(side, ball.z), spread = asin(ball.radius / distance) + kSlack;
    angles = {larger(middle - spread, 0.0), smaller(middle + spread, kHalfTurn)};
  }
  if (side > ball.radius) {
    const double sine = smaller(ball.radius / side + kSlack, 1.0), cosine = sqrt(1 - sine * sine);
    const double x = ball.x / side, y = ball.y / side;
    ex = {-x >= cosine ? -1 : x * cosine - fabs(y) * sine, x >= cosine ? 1 : x * cosine + fabs(y) * sine};
    ey = {-y >= cosine ? -1 : y * cosine - fabs(x) * sine, y >= cosine ? 1 : y * cosine + fabs(x) * sine};
  }
  Interval r;
  if (!radius_over<F>(view.lens, angles, r)) return false;
  at.x = r * ex, at.y = r * ey, at.s = square(r);
  at.nearest = distance - ball.radius;
  // R / sine: at most R' angle / sine where R begins at 0, and R over the least sine.
  const double slope = most_slope<F>(view.lens, angles), least = smaller(sin(angles.low), sin(angles.high));
  const double last = sin(angles.high);
  const double far = least > 1e-3 ? r.high / least : kUnbounded;
  const bool from_zero = F != Family::ocam || radius<F>(view.lens, 1.0, 0.0, 1.0).value <= 0;
  const double near = from_zero && angles.high < 3 ? slope * (last > 1e-9 ? angles.high / last : 1.0) : kUnbounded;
  at.turn = slope < 1e30 ? larger(slope, smaller(near, far)) : kUnbounded;
  return true;
}

// Longitude and latitude. A block that reaches behind is taken to reach all around.
UNRENDER_HD void reach_around(const Block& block, const View& view, Reach& at) {
  constexpr double kHalfTurn = 3.141592653589793, kSlack = 1e-5;
  const Ball ball = ball_in_camera(block, view);
  const double across = sqrt(ball.x * ball.x + ball.z * ball.z), distance = sqrt(across * across + ball.y * ball.y);
  at.x = {-kHalfTurn, kHalfTurn}, at.y = {-0.5 * kHalfTurn, 0.5 * kHalfTurn}, at.s = {0, 0};
  at.nearest = larger(across - ball.radius, 0.0);
  at.turn = 1;
  if (distance > ball.radius) {
    const double middle = atan2(ball.y, across), spread = asin(ball.radius / distance) + kSlack;
    at.y = {larger(middle - spread, at.y.low), smaller(middle + spread, at.y.high)};
  }
  if (across > ball.radius) {
    const double middle = atan2(ball.x, ball.z), spread = asin(ball.radius / across) + kSlack;
    if (fabs(middle) + spread < kHalfTurn) at.x = {middle - spread, middle + spread};
  }
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
template <Family F>
UNRENDER_HD Footprint footprint_of(const Block& block, unsigned size, const Window& window) {
  const View& view = window.view;
  const Lens& lens = view.lens;
  Footprint seen;
  bool all_face;
  if (faces_away(block, view, all_face)) return seen;
  Reach at;
  if constexpr (has_slopes(F)) {
    if (!reach_of_slopes<F>(block, view, at)) return seen;
  } else if constexpr (has_axis(F)) {
    if (!reach_of_angles<F>(block, view, at)) return seen;
  } else {
    reach_around(block, view, at);
  }
  Interval u, v;
  bend_over<F>(lens, at, u, v);
  if (!tiles(lens.fx, u, lens.cx, window.width, window.tile, seen.left, seen.right)) return seen;
  if (!tiles(lens.fy, v, lens.cy, window.height, window.tile, seen.top, seen.bottom)) return seen;
  seen.look_at_normals = !all_face;
  unsigned count = size;
  if (window.gamma > 0) {
    // More than any magnification. In whole steps: which of the last points are drawn is decided point by point.
    const double stretch = most_stretch<F>(lens, at.s.high) * at.turn;
    const bool bounded = at.nearest > 0 && stretch < kUnbounded;
    const double most = bounded ? larger(lens.mx, lens.my) * stretch / at.nearest * (1 + 1e-4) : kUnbounded;
    unsigned steps = 0;
    for (const float far : block.reach) steps += far * (window.gamma * most) > 1;
    count = steps * kStep < size ? steps * kStep : size;
  }
  seen.count = static_cast<unsigned short>(count);
  return seen;
}

UNRENDER_HD Footprint footprint(const Block& block, unsigned size, const Window& window) {
  return with_family(window.view.lens,
                     [&](auto its) { return footprint_of<decltype(its)::family>(block, size, window); });
}

}  // namespace unrender
