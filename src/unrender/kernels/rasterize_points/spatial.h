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
  double terms[kTerms];  // as many as the family has
};

// A place on the plane at focal length 1.
struct PlaneD {
  double u, v;
};

// What it loses when the point moves in camera axes.
struct Tug {
  double x, y, z;
};

// k1 to p2, and the terms behind them, where a family bends the plane with them: from what is lost along u and along v on
// the plane, at the place (x, y) of the chart.
template <Family F>
UNRENDER_HD void pull_at_plane(const Lens& lens, double x, double y, double along_u, double along_v, Pull& pull) {
  const double xx = x * x, yy = y * y, xy = x * y, s = xx + yy;
  if constexpr (F == Family::ocam) {
    pull.terms[0] = along_v * y, pull.terms[1] = along_v * x, pull.terms[2] = along_u * y;
  } else if constexpr (is_bent(F)) {
    const double radial = along_u * x + along_v * y;
    pull.distortion[2] = 2.0 * along_u * xy + along_v * (s + 2.0 * yy);
    pull.distortion[3] = along_u * (s + 2.0 * xx) + 2.0 * along_v * xy;
    if constexpr (F == Family::rational) {
      const double k4 = lens.terms[1], k5 = lens.terms[2], k6 = lens.terms[3];
      const double above = s * radial / (1.0 + s * (k4 + s * (k5 + s * k6))), below = -growth<F>(lens, s).value * above;
      pull.distortion[0] = above, pull.distortion[1] = s * above, pull.terms[0] = s * s * above;
      pull.terms[1] = below, pull.terms[2] = s * below, pull.terms[3] = s * s * below;
    } else if constexpr (F == Family::brown) {
      pull.distortion[0] = s * radial, pull.distortion[1] = s * s * radial;
    } else if constexpr (F == Family::equidistant) {
      pull.distortion[0] = s * radial, pull.distortion[1] = s * s * radial;
      pull.terms[0] = s * s * s * radial, pull.terms[1] = s * s * s * s * radial;
      pull.terms[2] = along_u * s, pull.terms[3] = along_v * s;
    } else if constexpr (F == Family::series) {
      pull.terms[0] = along_u * s, pull.terms[1] = along_v * s;
      pull.terms[2] = along_u * s * s, pull.terms[3] = along_v * s * s;
    }
  }
}

// The terms that say how R depends on the angle, from what is lost when R grows.
template <Family F>
UNRENDER_HD void pull_at_radius(const Lens& lens, double z, double side, double distance, double by_radius, Pull& pull) {
  if constexpr (F == Family::series) {
    const double a = angle(z, side);
    double power = by_radius * a;
    for (int order = 0; order < 6; ++order) pull.terms[4 + order] = power *= a * a;
  } else if constexpr (F == Family::fov) {
    const double omega = lens.terms[0], rise = lens.terms[1] * side;
    pull.terms[0] = -by_radius * radius<F>(lens, z, side, distance).value / omega;
    pull.terms[1] = by_radius * side * z / ((rise * rise + z * z) * omega);
  } else if constexpr (F == Family::ocam) {
    const double t = angle(z, side) - 1.5707963267948966;
    double power = by_radius;
    for (int order = 0; order < kSeries; ++order, power *= t) pull.terms[3 + order] = power;
  } else if constexpr (F == Family::unified) {
    const double alpha = lens.terms[0], d = sqrt(lens.terms[1] * side * side + z * z);
    const double below = alpha * d + (1.0 - alpha) * z, by_below = -by_radius * side / (below * below);
    pull.terms[0] = by_below * (d - z), pull.terms[1] = by_below * alpha * side * side / (2.0 * d);
  } else if constexpr (F == Family::division) {
    const double down = sqrt(z * z - 4.0 * lens.terms[0] * side * side);
    const double r = radius<F>(lens, z, side, distance).value;  // 2 side / (z + down)
    pull.terms[0] = by_radius * r * r * side / down;
  }
}

// From a loss per unit of the plane, along u and v, at a direction of a lens with slopes.
template <Family F>
UNRENDER_HD Tug tug_slopes(const Lens& lens, const double* at, double along_u, double along_v, PlaneD& place, Pull& pull) {
  const double inverse = 1.0 / at[2], x = at[0] * inverse, y = at[1] * inverse;
  const Bent<double> bent = bend<F>(lens, x, y);
  pull_at_plane<F>(lens, x, y, along_u, along_v, pull);
  place = {bent.u, bent.v};
  const double by_x = along_u * bent.u_x + along_v * bent.v_x, by_y = along_u * bent.u_y + along_v * bent.v_y;
  return {by_x * inverse, by_y * inverse, -(by_x * x + by_y * y) * inverse};
}

template <Family F>
UNRENDER_HD Tug tug_angle(const Lens& lens, const double* at, double along_u, double along_v, PlaneD& place, Pull& pull) {
  const double square = at[0] * at[0] + at[1] * at[1], side = sqrt(square), distance = sqrt(square + at[2] * at[2]);
  const Radius<double> r = radius<F>(lens, at[2], side, distance);
  const bool aside = side > 0;
  const double ex = aside ? at[0] / side : 1.0, ey = aside ? at[1] / side : 0.0;
  const double x = aside ? r.value * ex : 0.0, y = aside ? r.value * ey : 0.0;
  const Bent<double> bent = bend<F>(lens, x, y);
  pull_at_plane<F>(lens, x, y, along_u, along_v, pull);
  place = {bent.u, bent.v};
  const double by_x = along_u * bent.u_x + along_v * bent.v_x, by_y = along_u * bent.u_y + along_v * bent.v_y;
  const double away = by_x * ex + by_y * ey, aslant = by_y * ex - by_x * ey;
  pull_at_radius<F>(lens, at[2], side, distance, aside ? away : 0.0, pull);
  const double turn = away * r.slope / (distance * distance);
  const double along = turn * at[2], across = aslant * (aside ? r.value / side : r.slope / distance);
  return {along * ex - across * ey, along * ey + across * ex, -turn * side};
}

UNRENDER_HD Tug tug_around(const double* at, double along_u, double along_v, PlaneD& place) {
  const double square = at[0] * at[0] + at[2] * at[2], across = sqrt(square), distance = square + at[1] * at[1];
  const double turn = angle(at[2], fabs(at[0])), rise = angle(across, fabs(at[1]));
  place = {at[0] < 0 ? -turn : turn, at[1] < 0 ? -rise : rise};
  const double by_turn = square > 0 ? along_u / square : 0.0, by_rise = along_v / distance;
  const double down = square > 0 ? -by_rise * at[1] / across : 0.0;
  return {by_turn * at[2] + down * at[0], by_rise * across, down * at[2] - by_turn * at[0]};
}

// The chain from d loss / d (u, v) [per fine pixel] of a point at (px, py, pz) to all that moved it there.
template <Family F>
UNRENDER_HD Pull pull_back(const View& view, float px, float py, float pz, double by_u, double by_v) {
  const Lens& lens = view.lens;
  const double point[3] = {px, py, pz};
  double at[3];
  for (int row = 0; row < 3; ++row)
    at[row] = view.rotation[3 * row] * point[0] + view.rotation[3 * row + 1] * point[1] +
              view.rotation[3 * row + 2] * point[2] + view.translation[row];
  Pull pull;
  for (double& number : pull.distortion) number = 0.0;
  PlaneD place;
  Tug tug;
  const double along_u = lens.fx * by_u, along_v = lens.fy * by_v;
  if constexpr (has_slopes(F))
    tug = tug_slopes<F>(lens, at, along_u, along_v, place, pull);
  else if constexpr (has_axis(F))
    tug = tug_angle<F>(lens, at, along_u, along_v, place, pull);
  else
    tug = tug_around(at, along_u, along_v, place);
  const double by_point[3] = {tug.x, tug.y, tug.z};
  for (int k = 0; k < 3; ++k) {
    pull.position[k] = 0.0;
    pull.translation[k] = by_point[k];
    for (int row = 0; row < 3; ++row) {
      pull.position[k] += view.rotation[3 * row + k] * by_point[row];
      pull.rotation[3 * row + k] = by_point[row] * point[k];
    }
  }
  pull.focal[0] = by_u * place.u, pull.focal[1] = by_v * place.v;
  pull.center[0] = by_u, pull.center[1] = by_v;
  return pull;
}

}  // namespace unrender
