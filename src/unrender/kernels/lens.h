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

// The way back, from the plane to slopes, in double precision. Towards the edge of the valid region the image hardly
// moves with the slope, so that an error e on the plane is one of sqrt(e) in the slope: 3e-4 with float, which is a tenth
// of a texel and more in an environment map, and 1e-8 with double.
struct Distortion {
  double k1, k2, p1, p2, valid;
};

struct Slopes {
  double x, y;
};

// Where the radius r with r g(r^2) = the distorted radius is looked for, the best guess so far, and how far the last step
// went.
struct Bracket {
  double low, high, radius, move;
};

// Without a largest slope g is at least 4/9, which bounds the radius.
UNRENDER_HD Bracket start_radius(const Distortion& lens, double distorted) {
  const double most = 2.25 * distorted, rim = sqrt(lens.valid);
  if (!(lens.valid <= 1e300)) return {0.0, most, distorted, most};
  const double reach = rim * (1.0 + lens.valid * (lens.k1 + lens.k2 * lens.valid));
  return {0.0, rim, distorted >= reach || distorted > rim ? rim : distorted, rim};
}

// One step of Newton's method, or of bisection where that would leave the bracket or does not get shorter (around a bend
// it may go to and fro for ever). No branches: loops vectorise.
UNRENDER_HD Bracket step_radius(const Distortion& lens, double distorted, const Bracket& last) {
  const double r = last.radius, s = r * r;
  const double excess = r * (1.0 + s * (lens.k1 + lens.k2 * s)) - distorted;
  const double low = excess < 0 ? r : last.low, high = excess < 0 ? last.high : r;
  const double newton = r - excess / (1.0 + s * (3.0 * lens.k1 + 5.0 * lens.k2 * s));
  const double step = fabs(newton - r);
  const int shorter = int(step <= 0.75 * last.move) | int(step <= 1e-6 * r);  // or as short as rounding makes it
  const double next = bool(int(newton >= low) & int(newton <= high) & shorter) ? newton : 0.5 * (low + high);
  return {low, high, next, fabs(next - r)};
}

// One step of Newton's method in the plane, for the tangential terms; kept within the largest slope.
UNRENDER_HD Slopes step_slopes(const Distortion& lens, double u, double v, const Slopes& last) {
  const double x = last.x, y = last.y, xx = x * x, yy = y * y, xy = x * y, s = xx + yy;
  const double radial = 1.0 + s * (lens.k1 + lens.k2 * s), slope = 2.0 * (lens.k1 + 2.0 * lens.k2 * s);
  const double off_u = u - (x * radial + 2.0 * lens.p1 * xy + lens.p2 * (s + 2.0 * xx));
  const double off_v = v - (y * radial + 2.0 * lens.p2 * xy + lens.p1 * (s + 2.0 * yy));
  const double u_x = radial + slope * xx + 2.0 * lens.p1 * y + 6.0 * lens.p2 * x;
  const double u_y = slope * xy + 2.0 * lens.p1 * x + 2.0 * lens.p2 * y;
  const double v_y = radial + slope * yy + 2.0 * lens.p2 * x + 6.0 * lens.p1 * y;
  const double determinant = u_x * v_y - u_y * u_y;
  const double inverse = fabs(determinant) < 1e-9 ? 0.0 : 1.0 / determinant;
  const double to_x = x + inverse * (v_y * off_u - u_y * off_v), to_y = y + inverse * (u_x * off_v - u_y * off_u);
  const double square = to_x * to_x + to_y * to_y;
  const double shrink = square > lens.valid ? sqrt(lens.valid / square) : 1.0;
  return {to_x * shrink, to_y * shrink};
}

constexpr int kRadiusSteps = 40, kSlopeSteps = 12;
constexpr double kSettled = 1e-9;  // relative change of a step after which the next one changes nothing

// The slopes that land on (u, v) of the plane; where none do, those nearest at the edge of the valid region.
UNRENDER_HD Slopes undistort(const Distortion& lens, double u, double v) {
  const double distorted = sqrt(u * u + v * v);
  Bracket bracket = start_radius(lens, distorted);
  for (int step = 0; step < kRadiusSteps; ++step) {
    const double last = bracket.radius;
    bracket = step_radius(lens, distorted, bracket);
    if (fabs(bracket.radius - last) <= kSettled * last) break;
  }
  const double scale = bracket.radius / (distorted > 1e-300 ? distorted : 1e-300);
  Slopes slopes = {u * scale, v * scale};
  if (lens.p1 == 0 && lens.p2 == 0) return slopes;
  for (int step = 0; step < kSlopeSteps; ++step) {
    const Slopes last = slopes;
    slopes = step_slopes(lens, u, v, last);
    if (fabs(slopes.x - last.x) + fabs(slopes.y - last.y) <= kSettled) break;
  }
  return slopes;
}

}  // namespace unrender
