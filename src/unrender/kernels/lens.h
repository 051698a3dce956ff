// Perspective lenses with Brown's distortion: SIMPLE_PINHOLE, PINHOLE, SIMPLE_RADIAL, RADIAL and OPENCV are all this one
// lens, with coefficients of 0 where a model lacks them.
//
// Plain functions for CPU and GPU, without the standard library. Every operation is rounded by itself and in this order
// (the build turns contraction off): `rasterize_points/projection.py` does the same in PyTorch, to the bit. Change both.
#pragma once

#ifdef __CUDACC_RTC__
#define UNRENDER_HD __host__ __device__ inline
#else
#include <math.h>
#define UNRENDER_HD inline
#endif

namespace unrender {

// fx fy cx cy [pixels]: from the plane at focal length 1 to pixels of this view, resizing and cropping included.
// mx my: focal lengths that lengths are measured with. valid: the largest squared slope in the image.
struct Lens {
  float fx, fy, cx, cy, mx, my, k1, k2, p1, p2, valid;
};

struct Plane {
  float u, v;
};

// Where the slopes (x, y) of a direction land on the plane at focal length 1.
UNRENDER_HD Plane distort(const Lens& lens, float x, float y) {
  const float s = x * x + y * y;
  const float radial = 1.0f + s * (lens.k1 + lens.k2 * s);
  const float twice_xy = 2.0f * x * y;
  return {x * radial + lens.p1 * twice_xy + lens.p2 * (s + 2.0f * x * x),
          y * radial + lens.p2 * twice_xy + lens.p1 * (s + 2.0f * y * y)};
}

// The point's place in the image [pixels].
UNRENDER_HD Plane to_pixels(const Lens& lens, const Plane& distorted) {
  return {lens.fx * distorted.u + lens.cx, lens.fy * distorted.v + lens.cy};
}

// Largest singular value of d pixel / d point: pixels per unit of length across the line of sight.
// Closed form: the larger eigenvalue of (A A^T + (A a)(A a)^T) / z^2, with a = (x, y) and A = M d'(a).
UNRENDER_HD float magnification(const Lens& lens, float x, float y, float inverse_depth) {
  const float xx = x * x, yy = y * y, s = xx + yy;
  const float radial = 1.0f + s * (lens.k1 + lens.k2 * s);
  const float slope = 2.0f * (lens.k1 + 2.0f * lens.k2 * s);
  const float u_x = radial + slope * xx + 2.0f * lens.p1 * y + 6.0f * lens.p2 * x;
  const float u_y = slope * (x * y) + 2.0f * lens.p1 * x + 2.0f * lens.p2 * y;
  const float v_y = radial + slope * yy + 2.0f * lens.p2 * x + 6.0f * lens.p1 * y;
  const float a = lens.mx * u_x, b = lens.mx * u_y, c = lens.my * u_y, d = lens.my * v_y;
  const float along_u = a * x + b * y, along_v = c * x + d * y;
  const float uu = a * a + b * b + along_u * along_u;
  const float vv = c * c + d * d + along_v * along_v;
  const float uv = a * c + b * d + along_u * along_v;
  const float half = 0.5f * (uu - vv);
  return sqrtf(0.5f * (uu + vv) + sqrtf(half * half + uv * uv)) * inverse_depth;
}

}  // namespace unrender
