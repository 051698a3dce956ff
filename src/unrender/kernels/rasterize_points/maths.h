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
  float x, y;            // slopes
  float depth, inverse_depth;
  float u, v;            // [pixels]
};

UNRENDER_HD Seen see(const View& view, float px, float py, float pz) {
  const float* r = view.rotation;
  const float* t = view.translation;
  const float x = r[0] * px + r[1] * py + r[2] * pz + t[0];
  const float y = r[3] * px + r[4] * py + r[5] * pz + t[1];
  const float z = r[6] * px + r[7] * py + r[8] * pz + t[2];
  const float inverse = 1.0f / z;
  const float a = x * inverse, b = y * inverse;
  const Plane pixel = to_pixels(view.lens, distort(view.lens, a, b));
  return {a, b, z, inverse, pixel.u, pixel.v};
}

// In front of the lens and where it images one to one. Single `&`: no branches, so that loops over points vectorise.
UNRENDER_HD bool is_inside(const View& view, const Seen& seen) {
  const float s = seen.x * seen.x + seen.y * seen.y;
  return bool(int(seen.depth > 0) & int(seen.depth <= 3.402823466e38f) & int(s <= view.lens.valid));
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
