// Which texels of the environment a pixel shows: the arithmetic of `geometry/equirect.py` and of a camera's rays, for
// CPU and GPU alike. Plain functions without the standard library and without branches, so that loops vectorise.
#pragma once

#include "../lens.h"

namespace unrender {

// What a row of `views.py` says about directions.
struct Gaze {
  double rotation[9];  // from world to camera, row by row
  double fx, fy, cx, cy;
  Distortion distortion;
};
constexpr int kViewNumbers = 26;

UNRENDER_HD Gaze read_gaze(const double* row) {
  Gaze gaze;
  for (int i = 0; i < 9; ++i) gaze.rotation[i] = row[i];
  gaze.fx = row[15], gaze.fy = row[16], gaze.cx = row[17], gaze.cy = row[18];
  gaze.distortion = {row[21], row[22], row[23], row[24], row[25]};
  return gaze;
}

// Bilinear interpolation between texels (top, left), (top, left + 1), and the two below them.
struct Place {
  int top, left;
  float across, down;
};

// The angle of (x, y), y >= 0, from the x axis, in 0..pi; 0 for (0, 0). Off by 2.4e-10 at most: a millionth of a texel.
// The coefficients are those of the interpolant of atan(t) / t, as a polynomial of t^2, in Chebyshev nodes of 0..1.
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

// Where the direction of these slopes lies in a map of this size. Columns wrap around, rows end at the poles. What is
// not a number ends at the edge too: never outside the map.
UNRENDER_HD Place find_place(const Gaze& gaze, const Slopes& slopes, int height, int width) {
  const double* r = gaze.rotation;
  const double x = r[0] * slopes.x + r[3] * slopes.y + r[6];
  const double y = r[1] * slopes.x + r[4] * slopes.y + r[7];
  const double z = r[2] * slopes.x + r[5] * slopes.y + r[8];
  const double azimuth = angle(z, fabs(x)), turn = 0.15915494309189535 * (x < 0 ? -azimuth : azimuth) + 0.5;
  const double column = turn * width - 0.5, row = angle(y, sqrt(x * x + z * z)) * 0.3183098861837907 * height - 0.5;
  const double u = column > -0.5 ? (column < width ? column : width) : -0.5;
  const double v = row > 0 ? (row < height - 1 ? row : height - 1) : 0.0;
  const int whole = int(u + 1.0) - 1, top = int(v);  // rounded down
  return {top, whole < 0 ? width - 1 : (whole < width ? whole : 0), float(u - whole), float(v - top)};
}

}  // namespace unrender
