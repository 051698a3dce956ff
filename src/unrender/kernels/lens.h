// Lenses: from directions to pixels. Families differ in their chart of directions and in how they move it in the plane:
//
//   brown        slopes (x / z, y / z); k1, k2, p1, p2. SIMPLE_PINHOLE, PINHOLE, SIMPLE_RADIAL, RADIAL and OPENCV are all
//                this one lens, with coefficients of 0 where a model lacks them.
//   rational     slopes; the quotient of FULL_OPENCV
//   equidistant  the angle from the axis, away from it; k1 to k4, p1, p2 and a prism: all of COLMAP's fisheyes but
//   series       a polynomial of the angle; tangential terms and a prism: RAD_TAN_THIN_PRISM_FISHEYE
//   fov, ocam, unified, division: other functions of the angle; FOV, OCAM, EUCM and DIVISION
//   panorama     longitude and latitude
//
// Plain functions for CPU and GPU, without the standard library. Every operation is rounded by itself and in this order
// (the build turns contraction off): `rasterize_points/projection.py` and `lens_maths.py` do the same in PyTorch, to the
// bit. Change both. `cameras/lens/` says what the formulas mean.
#pragma once

#ifdef __CUDACC_RTC__
#define UNRENDER_HD __host__ __device__ inline
#else
#include <math.h>
#define UNRENDER_HD inline
#endif

namespace unrender {

enum class Family : int { brown, rational, equidistant, series, fov, ocam, unified, division, panorama };
constexpr int kFamilies = 9;
constexpr int kTerms = 24;

// fx fy cx cy [pixels]: from the plane at focal length 1 to pixels of this view, resizing and cropping included.
// mx my: focal lengths that lengths are measured with. valid: the largest squared distance from 0 in the chart that is in
// the image. widest: the largest angle from the axis (ocam, series). terms: what a family has beyond k1 to p2, in the order
// of `families.py`:
//   rational k3, and k4 k5 k6 of the divisor   equidistant k3 k4, prism a1 b1   series prism a1 b1 a2 b2, k0 to k5
//   fov omega, 2 tan(omega / 2)   ocam c d e a0 a1 ...   unified alpha beta   division k
template <class Number>
struct LensOf {
  Number fx, fy, cx, cy, mx, my, k1, k2, p1, p2, valid, family, widest;
  Number terms[kTerms];
};
using Lens = LensOf<float>;

// How many of the terms a family has.
UNRENDER_HD constexpr int terms_of(Family family) {
  switch (family) {
    case Family::rational: return 4;
    case Family::equidistant: return 4;
    case Family::series: return 10;
    case Family::fov: return 2;
    case Family::ocam: return kTerms;
    case Family::unified: return 2;
    case Family::division: return 1;
    default: return 0;
  }
}
constexpr int kSeries = kTerms - 3;  // coefficients of ocam


UNRENDER_HD constexpr bool has_slopes(Family family) { return family == Family::brown || family == Family::rational; }
UNRENDER_HD constexpr bool has_axis(Family family) { return !has_slopes(family) && family != Family::panorama; }
// Whether the plane is moved by k1 to p2 and their like.
UNRENDER_HD constexpr bool is_bent(Family family) {
  return has_slopes(family) || family == Family::equidistant || family == Family::series;
}

template <Family F>
struct Kind {
  static constexpr Family family = F;
};

// work(Kind<F>) for the family of a lens. UNRENDER_FAMILY: its number where the compiler is told, and no others come.
template <class Number, class Work>
UNRENDER_HD auto with_family(const LensOf<Number>& lens, const Work& work) {
#ifdef UNRENDER_FAMILY
  (void)lens;
  return work(Kind<Family(UNRENDER_FAMILY)>());
#else
  const bool known = lens.family > 0 && lens.family < kFamilies;  // false for what is no number
  switch (known ? Family(int(lens.family)) : Family::brown) {
    case Family::rational: return work(Kind<Family::rational>());
    case Family::equidistant: return work(Kind<Family::equidistant>());
    case Family::series: return work(Kind<Family::series>());
    case Family::fov: return work(Kind<Family::fov>());
    case Family::ocam: return work(Kind<Family::ocam>());
    case Family::unified: return work(Kind<Family::unified>());
    case Family::division: return work(Kind<Family::division>());
    case Family::panorama: return work(Kind<Family::panorama>());
    default: return work(Kind<Family::brown>());
  }
#endif
}

struct Plane {
  float u, v;
};

// Where the slopes (x, y) of a direction land on the plane at focal length 1; brown.
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

// Largest singular value of d pixel / d point of brown: pixels per unit of length across the line of sight.
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

// The angle of (x, y), y >= 0, from the x axis, in 0..pi; 0 for (0, 0). No branches: loops vectorise. The coefficients are
// those of the interpolant of atan(t) / t, as a polynomial of t^2, in Chebyshev nodes of 0..1. In float the error is that
// of rounding, 2e-7.
UNRENDER_HD float angle(float x, float y) {
  const float a = fabsf(x), larger = a > y ? a : y, smaller = a > y ? y : a;
  const float t = smaller / (larger > 1e-30f ? larger : 1e-30f), s = t * t;
  float p = 0.00276628346f;
  p = p * s - 0.015731249f;
  p = p * s + 0.0421376228f;
  p = p * s - 0.0745685473f;
  p = p * s + 0.106183708f;
  p = p * s - 0.141977981f;
  p = p * s + 0.199918717f;
  p = p * s - 0.333330363f;
  p = p * s + 1.0f;
  const float half = t * p, quarter = a < y ? 1.57079637f - half : half;
  return x < 0 ? 3.14159274f - quarter : quarter;
}

// In double off by 2.4e-10 at most: a millionth of a texel of an environment map.
UNRENDER_HD double angle(double x, double y) {
  const double a = fabs(x), larger = a > y ? a : y, smaller = a > y ? y : a;
  const double t = smaller / (larger > 1e-300 ? larger : 1e-300), s = t * t;
  double p = 0.001057607174681669;
  p = p * s - 0.007030668149871582;
  p = p * s + 0.02191294303867669;
  p = p * s - 0.043928407362148966;
  p = p * s + 0.06685281272740956;
  p = p * s - 0.08785043170557441;
  p = p * s + 0.11050771244156139;
  p = p * s - 0.14278576019471825;
  p = p * s + 0.19999558099881345;
  p = p * s - 0.33333322488892886;
  p = p * s + 0.999999999553536;
  const double half = t * p, quarter = a < y ? 1.5707963267948966 - half : half;
  return x < 0 ? 3.141592653589793 - quarter : quarter;
}

UNRENDER_HD float root(float x) { return sqrtf(x); }
UNRENDER_HD double root(double x) { return sqrt(x); }
UNRENDER_HD float size_of(float x) { return fabsf(x); }
UNRENDER_HD double size_of(double x) { return fabs(x); }

// R, the distance from 0 in the chart, its derivative by the angle from the axis, and whether the chart has the direction.
template <class Real>
struct Radius {
  Real value, slope;
  int there;
};

// c0 + c1 t + ... and its derivative; `count` coefficients.
template <int count, class Number, class Real>
UNRENDER_HD Radius<Real> polynomial(const Number* coefficients, Real t) {
  Real value = 0, slope = 0;
#ifdef __CUDACC_RTC__
#pragma unroll
#endif
  for (int order = count - 1; order >= 0; --order) {
    slope = slope * t + value;
    value = value * t + Real(coefficients[order]);
  }
  return {value, slope, 1};
}

// Of a direction with z along the axis and `side` away from it. The constants are those of `cameras/lens/`.
template <Family F, class Number, class Real>
UNRENDER_HD Radius<Real> radius(const LensOf<Number>& lens, Real z, Real side, Real distance) {
  constexpr Real kLeast = Real(1e-4);  // directions that land 10,000 focal lengths from the centre are not imaged
  if constexpr (F == Family::equidistant) {
    return {angle(z, side), Real(1), 1};
  } else if constexpr (F == Family::series) {
    const Real a = angle(z, side), s = a * a;
    const Radius<Real> bends = polynomial<6>(lens.terms + 4, s);
    const Real growth = Real(1) + s * bends.value;
    return {a * growth, growth + Real(2) * s * (bends.value + s * bends.slope), int(a <= Real(lens.widest))};
  } else if constexpr (F == Family::fov) {
    const Real omega = Real(lens.terms[0]), steep = Real(lens.terms[1]), rise = steep * side;
    const Real slope = steep * (distance * distance) / (omega * (rise * rise + z * z));
    return {angle(z, rise) / omega, slope, 1};
  } else if constexpr (F == Family::ocam) {
    const Real a = angle(z, side);
    const Radius<Real> r = polynomial<kSeries>(lens.terms + 3, a - Real(1.5707963267948966));
    return {r.value, r.slope, int(a <= Real(lens.widest)) & int(r.value >= 0)};
  } else if constexpr (F == Family::unified) {
    const Real alpha = Real(lens.terms[0]), beta = Real(lens.terms[1]), rest = Real(1) - alpha;
    const Real d = root(beta * (side * side) + z * z), below = alpha * d + rest * z;
    const Real rise = rest + alpha * (z / d), stretch = distance / below;
    return {side / below, rise * (stretch * stretch), int(below > kLeast * distance) & int(rise > 0)};
  } else {
    const Real bend = Real(4) * Real(lens.terms[0]) * (side * side), square = z * z - bend;
    const Real down = root(square > 0 ? square : Real(0));
    const Real below = z < 0 ? -bend / (down + size_of(z)) : z + down;  // to the rear without cancelling digits
    const int there = int(square > 0) & int(below > kLeast * distance);
    return {Real(2) * side / below, Real(2) * (distance * distance) / (below * down), there};
  }
}

// Where a place (x, y) of the chart lands on the plane at focal length 1, and the derivative of that.
template <class Real>
struct Bent {
  Real u, v, u_x, u_y, v_x, v_y;
};

// g(s) and its derivative: of what the radial terms multiply by.
template <class Real>
struct Growth {
  Real value, slope;
};

template <Family F, class Number, class Real>
UNRENDER_HD Growth<Real> growth(const LensOf<Number>& lens, Real s) {
  const Real k1 = Real(lens.k1), k2 = Real(lens.k2);
  if constexpr (F == Family::brown) {
    return {Real(1) + s * (k1 + k2 * s), k1 + Real(2) * k2 * s};
  } else if constexpr (F == Family::rational) {
    const Real k3 = Real(lens.terms[0]), k4 = Real(lens.terms[1]), k5 = Real(lens.terms[2]), k6 = Real(lens.terms[3]);
    const Real above = Real(1) + s * (k1 + s * (k2 + s * k3)), below = Real(1) + s * (k4 + s * (k5 + s * k6));
    const Real rise = k1 + s * (Real(2) * k2 + Real(3) * s * k3), fall = k4 + s * (Real(2) * k5 + Real(3) * s * k6);
    const Real value = above / below;
    return {value, (rise - value * fall) / below};
  } else if constexpr (F == Family::equidistant) {
    const Real k3 = Real(lens.terms[0]), k4 = Real(lens.terms[1]);
    return {Real(1) + s * (k1 + s * (k2 + s * (k3 + s * k4))),
            k1 + s * (Real(2) * k2 + s * (Real(3) * k3 + Real(4) * s * k4))};
  } else {
    return {Real(1), Real(0)};
  }
}

// a1 s + a2 s^2 and its derivative: what a prism adds to u; with b, to v.
template <Family F, class Number, class Real>
UNRENDER_HD Growth<Real> prism(const LensOf<Number>& lens, int axis, Real s) {
  if constexpr (F == Family::equidistant) {
    const Real first = Real(lens.terms[2 + axis]);
    return {s * first, first};
  } else {
    const Real first = Real(lens.terms[axis]), second = Real(lens.terms[2 + axis]);
    return {s * (first + s * second), first + Real(2) * s * second};
  }
}

template <Family F, class Number, class Real>
UNRENDER_HD Bent<Real> bend(const LensOf<Number>& lens, Real x, Real y) {
  if constexpr (F == Family::ocam) {
    const Real c = Real(lens.terms[0]), d = Real(lens.terms[1]), e = Real(lens.terms[2]);
    return {x + e * y, d * x + c * y, Real(1), e, d, c};
  } else if constexpr (is_bent(F)) {
    const Real p1 = Real(lens.p1), p2 = Real(lens.p2);
    const Real xx = x * x, yy = y * y, xy = x * y, s = xx + yy, twice = Real(2) * xy;
    const Growth<Real> g = growth<F>(lens, s);
    const Real slope = Real(2) * g.slope;
    Bent<Real> bent{x * g.value + p1 * twice + p2 * (s + Real(2) * xx),
                    y * g.value + p2 * twice + p1 * (s + Real(2) * yy),
                    g.value + slope * xx + Real(2) * p1 * y + Real(6) * p2 * x,
                    slope * xy + Real(2) * p1 * x + Real(2) * p2 * y,
                    Real(0),
                    g.value + slope * yy + Real(2) * p2 * x + Real(6) * p1 * y};
    bent.v_x = bent.u_y;
    if constexpr (!has_slopes(F)) {
      const Growth<Real> a = prism<F>(lens, 0, s), b = prism<F>(lens, 1, s);
      bent.u = bent.u + a.value, bent.v = bent.v + b.value;
      bent.u_x = bent.u_x + Real(2) * a.slope * x, bent.u_y = bent.u_y + Real(2) * a.slope * y;
      bent.v_x = bent.v_x + Real(2) * b.slope * x, bent.v_y = bent.v_y + Real(2) * b.slope * y;
    }
    return bent;
  } else {
    return {x, y, Real(1), Real(0), Real(0), Real(1)};
  }
}

// The root of the larger eigenvalue of A A^T, from its entries: the largest singular value of A.
UNRENDER_HD float largest_root(float uu, float uv, float vv) {
  const float half = 0.5f * (uu - vv);
  return sqrtf(0.5f * (uu + vv) + sqrtf(half * half + uv * uv));
}

}  // namespace unrender
