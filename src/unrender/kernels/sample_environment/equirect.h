// Which texels of the environment a pixel shows: the arithmetic of `geometry/equirect.py` and of a camera's rays, for
// CPU and GPU alike. Plain functions without the standard library and without branches, so that loops vectorise.
#pragma once

#include "../unproject.h"

namespace unrender {

// What a row of `views.py` says about directions.
struct Gaze {
  double rotation[9];  // from world to camera, row by row
  LensOf<double> lens;
};
constexpr int kViewNumbers = 15 + sizeof(LensOf<double>) / sizeof(double);

UNRENDER_HD Gaze read_gaze(const double* row) {
  Gaze gaze;
  for (int i = 0; i < 9; ++i) gaze.rotation[i] = row[i];
  double* numbers = &gaze.lens.fx;
  for (int i = 15; i < kViewNumbers; ++i) numbers[i - 15] = row[i];
  return gaze;
}

// Bilinear interpolation between texels (top, left), (top, left + 1), and the two below them.
struct Place {
  int top, left;
  float across, down;
};

// Where a direction in camera axes lies in a map of this size. Columns wrap around, rows end at the poles. What is
// not a number ends at the edge too: never outside the map.
UNRENDER_HD Place find_place(const Gaze& gaze, const Way& way, int height, int width) {
  const double* r = gaze.rotation;
  const double x = r[0] * way.x + r[3] * way.y + r[6] * way.z;
  const double y = r[1] * way.x + r[4] * way.y + r[7] * way.z;
  const double z = r[2] * way.x + r[5] * way.y + r[8] * way.z;
  const double azimuth = angle(z, fabs(x)), turn = 0.15915494309189535 * (x < 0 ? -azimuth : azimuth) + 0.5;
  const double column = turn * width - 0.5, row = angle(y, sqrt(x * x + z * z)) * 0.3183098861837907 * height - 0.5;
  const double u = column > -0.5 ? (column < width ? column : width) : -0.5;
  const double v = row > 0 ? (row < height - 1 ? row : height - 1) : 0.0;
  const int whole = int(u + 1.0) - 1, top = int(v);  // rounded down
  return {top, whole < 0 ? width - 1 : (whole < width ? whole : 0), float(u - whole), float(v - top)};
}

}  // namespace unrender
