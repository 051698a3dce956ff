// The way back, from pixels to directions, in double precision.
#pragma once

#include "lens.h"

namespace unrender {

// From the plane to slopes, for brown. Towards the edge of the valid region the image hardly moves with the slope, so that
// an error e on the plane is one of sqrt(e) in the slope: 3e-4 with float, which is a tenth of a texel and more in an
// environment map, and 1e-8 with double.
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

UNRENDER_HD double larger_or(double a, double b) { return a < b ? b : a; }
UNRENDER_HD double smaller_or(double a, double b) { return b < a ? b : a; }

UNRENDER_HD Slopes shrunk(double x, double y, double rim) {
  const double r = sqrt(x * x + y * y), shrink = r > rim ? rim / r : 1.0;
  return {x * shrink, y * shrink};
}

// Newton's method in the plane, for tangential terms and prisms, kept within the rim; a step that does not come nearer is
// halved, over and over, which ends as the derivative is positive there.
template <Family F>
UNRENDER_HD Slopes polish(const LensOf<double>& lens, double u, double v, Slopes at, double rim) {
  double share = 1;
  for (int step = 0; step < 60; ++step) {
    const Bent<double> bent = bend<F>(lens, at.x, at.y);
    const double off_u = u - bent.u, off_v = v - bent.v;
    const double determinant = bent.u_x * bent.v_y - bent.u_y * bent.v_x;
    const double inverse = fabs(determinant) < 1e-12 ? 0.0 : 1.0 / determinant;
    const double to_x = inverse * (bent.v_y * off_u - bent.u_y * off_v);
    const double to_y = inverse * (bent.u_x * off_v - bent.v_x * off_u);
    const Slopes next = shrunk(at.x + share * to_x, at.y + share * to_y, rim);
    const Bent<double> then = bend<F>(lens, next.x, next.y);
    const double before = off_u * off_u + off_v * off_v;
    const double after = (u - then.u) * (u - then.u) + (v - then.v) * (v - then.v);
    if (after <= before) {
      at = next, share = smaller_or(2 * share, 1.0);
    } else {
      share *= 0.5;
    }
    if (fabs(to_x) + fabs(to_y) <= 1e-9 * (1 + fabs(at.x) + fabs(at.y)) || share < 1e-4) break;
  }
  return at;
}

// A direction of any length.
struct Way {
  double x, y, z;
};

// The r in [0, rim] where `curve`, which grows up to there, has the value `target`; the nearer end if none. Newton's method,
// with bisection where it leaves the bracket or its steps do not get shorter.
template <class Curve>
UNRENDER_HD double solve_growing(const Curve& curve, double target, double rim) {
  double low = 0, high = rim;
  if (!(rim <= 1e300)) {
    high = 2.25 * larger_or(target, 0.0);
    for (int step = 0; step < 60 && curve(high).value < target; ++step) high *= 4;
  }
  double r = target >= curve(high).value ? high : smaller_or(larger_or(target, 0.0), high), move = 1e300;
  for (int step = 0; step < 60; ++step) {
    const Radius<double> at = curve(r);
    const double excess = at.value - target;
    (excess < 0 ? low : high) = r;
    const double newton = r - excess / (at.slope == 0 ? 1.0 : at.slope), far = fabs(newton - r);
    const bool follow = newton >= low && newton <= high && far <= larger_or(0.75 * move, 1e-6 * r);
    const double next = follow ? newton : 0.5 * (low + high);
    move = fabs(next - r), r = next;
    if (move <= 1e-15 * r) break;
  }
  return r;
}

// The place of the chart that lands on (u, v); where none does, one at the edge of the valid region near to it.
template <Family F>
UNRENDER_HD Slopes unbend(const LensOf<double>& lens, double u, double v) {
  const double rim = sqrt(lens.valid);
  if constexpr (F == Family::ocam) {
    const double c = lens.terms[0], d = lens.terms[1], e = lens.terms[2], size = c - d * e;
    const double x = (c * u - e * v) / size, y = (v - d * u) / size;
    return shrunk(x, y, rim);
  } else if constexpr (is_bent(F)) {
    const double distorted = sqrt(u * u + v * v);
    const auto curve = [&lens](double r) {
      const Growth<double> g = growth<F>(lens, r * r);
      return Radius<double>{r * g.value, g.value + 2.0 * r * r * g.slope, 1};
    };
    const double scale = solve_growing(curve, distorted, rim) / larger_or(distorted, 1e-300);
    return polish<F>(lens, u, v, {u * scale, v * scale}, rim);
  } else {
    return shrunk(u, v, rim);
  }
}

// The direction at a place of the chart.
template <Family F>
UNRENDER_HD Way from_chart(const LensOf<double>& lens, const Slopes& at) {
  const double r = sqrt(at.x * at.x + at.y * at.y), safe = r > 0 ? r : 1.0;
  if constexpr (F == Family::unified) {
    const double alpha = lens.terms[0], bend = lens.terms[1] * r * r, left = 1.0 - (2.0 * alpha - 1.0) * bend;
    const double down = sqrt(larger_or(left, 0.0)), rest = 1.0 - alpha;
    const double z = alpha > 0.75 ? (alpha * down - rest) / (2.0 * alpha - 1.0)  // the other divides by 0 for 1
                                  : (1.0 - alpha * alpha * bend) / (alpha * down + rest);
    return {at.x, at.y, z};
  } else if constexpr (F == Family::division) {
    return {at.x, at.y, 1.0 + lens.terms[0] * r * r};
  } else {
    double turned = r, steep = 1.0;
    if constexpr (F == Family::fov) turned = r * lens.terms[0], steep = lens.terms[1];
    if constexpr (F == Family::ocam || F == Family::series) {
      const auto curve = [&lens](double a) { return radius<F>(lens, cos(a), sin(a), 1.0); };
      turned = solve_growing(curve, r, lens.widest);
    }
    turned = smaller_or(turned, 3.141592653589793);
    const double side = sin(turned) / safe;
    return {at.x * side, at.y * side, steep * cos(turned)};
  }
}

// Through a place (u, v) of the plane at focal length 1.
template <Family F>
UNRENDER_HD Way unproject(const LensOf<double>& lens, double u, double v) {
  if constexpr (F == Family::panorama) {
    const double down = larger_or(smaller_or(v, 1.5707963267948966), -1.5707963267948966), across = cos(down);
    return {across * sin(u), sin(down), across * cos(u)};
  } else if constexpr (F == Family::brown) {
    const Slopes slopes = undistort({lens.k1, lens.k2, lens.p1, lens.p2, lens.valid}, u, v);
    return {slopes.x, slopes.y, 1.0};
  } else if constexpr (F == Family::rational) {
    const Slopes slopes = unbend<F>(lens, u, v);
    return {slopes.x, slopes.y, 1.0};
  } else {
    return from_chart<F>(lens, unbend<F>(lens, u, v));
  }
}

}  // namespace unrender
