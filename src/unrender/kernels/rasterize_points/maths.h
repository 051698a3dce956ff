// What happens to one point in one view: the arithmetic of the one-pixel rasteriser, for CPU and GPU alike.
//
// `projection.py` does the same in PyTorch, to the bit; see the note in lens.h.
#pragma once

#include "../lens.h"

namespace unrender {

// One view, everything relative to the scene's origin. The order of the fields is that of `views.py`.
struct View {
  float rotation[9];     // from world to camera, row by row
  float translation[3];
  float eye[3];          // the camera's centre
  Lens lens;
};
constexpr int kViewFloats = sizeof(View) / sizeof(float);

struct Seen {
  float x, y;            // place in the chart of the lens: slopes, for those that have them
  float depth, inverse_depth;
  float u, v;            // [pixels]
  // Of charts by the angle: which way is away from the axis, and how far the place moves when the direction turns by a unit
  // that way and across it. Of the panorama: `across` is the inverse of the distance from the vertical axis.
  float away_x, away_y, along, across;
  int there;             // whether the chart has the direction
};

struct Camera {
  float x, y, z;
};

UNRENDER_HD Camera in_camera(const View& view, float px, float py, float pz) {
  const float* r = view.rotation;
  const float* t = view.translation;
  return {r[0] * px + r[1] * py + r[2] * pz + t[0], r[3] * px + r[4] * py + r[5] * pz + t[1],
          r[6] * px + r[7] * py + r[8] * pz + t[2]};
}

UNRENDER_HD Seen see_by_slopes(const Lens& lens, const Camera& at, const Plane& place, float x, float y, float inverse) {
  const Plane pixel = to_pixels(lens, place);
  return {x, y, at.z, inverse, pixel.u, pixel.v, 0, 0, 0, 0, 1};
}

template <Family F>
UNRENDER_HD Seen see_by_angle(const Lens& lens, const Camera& at) {
  const float square = at.x * at.x + at.y * at.y, side = sqrtf(square), depth = sqrtf(square + at.z * at.z);
  const Radius<float> r = radius<F>(lens, at.z, side, depth);
  const bool aside = side > 0;
  const float safe = aside ? side : 1.0f, stretch = r.value / safe;
  const float x = at.x * stretch, y = at.y * stretch;
  const Bent<float> bent = bend<F>(lens, x, y);
  const Plane pixel = to_pixels(lens, {bent.u, bent.v});
  const int there = r.there & (int(aside) | int(at.z > 0));  // straight behind there is no way away from the axis
  return {x, y, depth, 1.0f / depth, pixel.u, pixel.v, aside ? at.x / safe : 1.0f, aside ? at.y / safe : 0.0f,
          r.slope, aside ? stretch * depth : r.slope, there};
}

// Longitude and latitude. What lies exactly behind is at the left edge.
UNRENDER_HD Seen see_around(const Lens& lens, const Camera& at) {
  const float square = at.x * at.x + at.z * at.z, across = sqrtf(square), depth = sqrtf(square + at.y * at.y);
  const float turn = angle(at.z, fabsf(at.x)), rise = angle(across, fabsf(at.y));
  const float longitude = bool(int(at.x < 0) | int(turn >= 3.14159274f)) ? -turn : turn;
  const float latitude = at.y < 0 ? -rise : rise;
  const Plane pixel = to_pixels(lens, {longitude, latitude});
  const float least = 1e-12f * depth;  // at the poles the Jacobian is that beside them
  return {longitude, latitude, depth, 1.0f / depth, pixel.u, pixel.v, 0, 0, 0, 1.0f / (across > least ? across : least),
          1};
}

template <Family F>
UNRENDER_HD Seen see(const View& view, float px, float py, float pz) {
  const Lens& lens = view.lens;
  const Camera at = in_camera(view, px, py, pz);
  if constexpr (has_slopes(F)) {
    const float inverse = 1.0f / at.z, x = at.x * inverse, y = at.y * inverse;
    if constexpr (F == Family::brown) return see_by_slopes(lens, at, distort(lens, x, y), x, y, inverse);
    const Bent<float> bent = bend<F>(lens, x, y);
    return see_by_slopes(lens, at, {bent.u, bent.v}, x, y, inverse);
  } else if constexpr (has_axis(F)) {
    return see_by_angle<F>(lens, at);
  } else {
    return see_around(lens, at);
  }
}

// Seen by the lens and where it images one to one. Single `&`: no branches, so that loops over points vectorise.
template <Family F>
UNRENDER_HD bool is_inside(const View& view, const Seen& seen) {
  const int somewhere = int(seen.depth > 0) & int(seen.depth <= 3.402823466e38f);
  if constexpr (F == Family::panorama) return bool(somewhere);
  const float s = seen.x * seen.x + seen.y * seen.y;
  return bool(somewhere & int(s <= view.lens.valid) & seen.there);
}

// Largest singular value of d pixel / d point: pixels per unit of length across the line of sight.
template <Family F>
UNRENDER_HD float magnification(const Lens& lens, const Seen& seen) {
  if constexpr (F == Family::brown) {
    return magnification(lens, seen.x, seen.y, seen.inverse_depth);
  } else if constexpr (F == Family::panorama) {  // its two rows stand square to each other
    const float round = lens.mx * seen.across, up = lens.my * seen.inverse_depth;
    return round > up ? round : up;
  } else {
    const Bent<float> bent = bend<F>(lens, seen.x, seen.y);
    const float a = lens.mx * bent.u_x, b = lens.mx * bent.u_y, c = lens.my * bent.v_x, d = lens.my * bent.v_y;
    if constexpr (F == Family::rational) {
      const float along_u = a * seen.x + b * seen.y, along_v = c * seen.x + d * seen.y;
      return largest_root(a * a + b * b + along_u * along_u, a * c + b * d + along_u * along_v,
                          c * c + d * d + along_v * along_v) * seen.inverse_depth;
    } else {
      const float along_u = (a * seen.away_x + b * seen.away_y) * seen.along;
      const float along_v = (c * seen.away_x + d * seen.away_y) * seen.along;
      const float across_u = (b * seen.away_x - a * seen.away_y) * seen.across;
      const float across_v = (d * seen.away_x - c * seen.away_y) * seen.across;
      return largest_root(along_u * along_u + across_u * across_u, along_u * along_v + across_u * across_v,
                          along_v * along_v + across_v * across_v) * seen.inverse_depth;
    }
  }
}

// Eq. 5 with the sign of conventions.md; zero normals face everybody.
UNRENDER_HD bool is_facing(const View& view, float px, float py, float pz, float nx, float ny, float nz) {
  const float facing = nx * (px - view.eye[0]) + ny * (py - view.eye[1]) + nz * (pz - view.eye[2]);
  const int unknown = int(nx == 0) & int(ny == 0) & int(nz == 0);
  return bool(int(facing < 0) | unknown);
}

// Stochastic discarding (Eq. 12): whether a point is drawn in layer `level`. `size` is gamma times its reach (its
// radius over sqrt(1 - beta)) in fine pixels. What is drawn in a layer is drawn in all finer ones.
UNRENDER_HD bool is_drawn(float size, int level) { return size > float(1 << level); }

// A stateless random number per (key, point): a ghost where it is below rate * 2^32.
UNRENDER_HD unsigned mix(unsigned x) {
  x ^= x >> 16;
  x *= 0x7feb352dU;
  x ^= x >> 15;
  x *= 0x846ca68bU;
  return x ^ (x >> 16);
}

UNRENDER_HD unsigned ghost_key(unsigned long long seed, unsigned view) {
  return mix(mix(unsigned(seed) ^ mix(unsigned(seed >> 32))) + view);
}

UNRENDER_HD bool is_ghost(unsigned key, unsigned point, unsigned threshold) {
  return mix(mix(point) + key) < threshold;
}

}  // namespace unrender
