#include "cpu.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>
#include <vector>

#include "../threads.h"
#include "equirect.h"

namespace unrender {
namespace {

constexpr int kStretch = 64;                // pixels looked at together; a batch is full when it has as many
constexpr int kRoom = 2 * kStretch;         // what a batch may hold
constexpr std::size_t kRunPixels = 1 << 14;  // pixels of a task

// Empty pixels and the texels they show.
struct Batch {
  int size = 0, highest, lowest;  // first and last row of the map that is touched
  std::uint32_t pixel[kRoom];     // of the pyramid
  std::int32_t top[kRoom], left[kRoom];
  float across[kRoom], down[kRoom];
};

// What leads to them: places in the image [fine pixels], then on the plane, then directions (u, v, w).
struct Rays {
  double u[kRoom], v[kRoom], w[kRoom];
};

// Rows of one layer of one view: a task.
struct Run {
  std::size_t view, first;  // pixel of the pyramid
  int level, width, row, rows;
};

std::vector<Run> make_runs(const Pyramids& pyramids) {
  std::vector<Run> runs;
  for (std::size_t view = 0; view < pyramids.count; ++view) {
    std::size_t first = 0;
    for (int level = 0; level < pyramids.layers; ++level) {
      const int height = ((pyramids.height - 1) >> level) + 1, width = ((pyramids.width - 1) >> level) + 1;
      const int most = std::max(1, int(kRunPixels / width));
      for (int row = 0; row < height; row += most) {
        const int rows = std::min(most, height - row);
        runs.push_back({view, first, level, width, row, rows});
        first += std::size_t(rows) * width;
      }
    }
  }
  return runs;
}

bool any_empty(const std::int32_t* hits, int number) {
  int found = 0;
  for (int i = 0; i < number; ++i) found |= hits[i] == 0;
  return found;
}

// Newton's method for all rays of a batch at once, until the slowest has settled.
void undistort(const Distortion& lens, int size, Rays& rays) {
  double distorted[kRoom];
  Bracket bracket[kRoom];
  for (int i = 0; i < size; ++i) {
    distorted[i] = std::sqrt(rays.u[i] * rays.u[i] + rays.v[i] * rays.v[i]);
    bracket[i] = start_radius(lens, distorted[i]);
  }
  bool moving = true;
  for (int step = 0; moving && step < kRadiusSteps; ++step) {
    int far = 0;
    for (int i = 0; i < size; ++i) {
      const double last = bracket[i].radius;
      bracket[i] = step_radius(lens, distorted[i], bracket[i]);
      far |= !(std::fabs(bracket[i].radius - last) <= kSettled * last);
    }
    moving = far;
  }
  double x[kRoom], y[kRoom];
  for (int i = 0; i < size; ++i) {
    const double scale = bracket[i].radius / std::max(distorted[i], 1e-300);
    x[i] = rays.u[i] * scale, y[i] = rays.v[i] * scale;
  }
  moving = lens.p1 != 0 || lens.p2 != 0;
  for (int step = 0; moving && step < kSlopeSteps; ++step) {
    int far = 0;
    for (int i = 0; i < size; ++i) {
      const Slopes next = step_slopes(lens, rays.u[i], rays.v[i], {x[i], y[i]});
      far |= !(std::fabs(next.x - x[i]) + std::fabs(next.y - y[i]) <= kSettled);
      x[i] = next.x, y[i] = next.y;
    }
    moving = far;
  }
  std::copy(x, x + size, rays.u), std::copy(y, y + size, rays.v);
}

// From the plane to directions.
template <Family F>
void unproject_all(const LensOf<double>& lens, int size, Rays& rays) {
  if constexpr (F == Family::brown) {
    if (lens.k1 != 0 || lens.k2 != 0 || lens.p1 != 0 || lens.p2 != 0)
      undistort({lens.k1, lens.k2, lens.p1, lens.p2, lens.valid}, size, rays);
    std::fill_n(rays.w, size, 1.0);
  } else {
    for (int i = 0; i < size; ++i) {
      const Way way = unproject<F>(lens, rays.u[i], rays.v[i]);
      rays.u[i] = way.x, rays.v[i] = way.y, rays.w[i] = way.z;
    }
  }
}

void find_places(const Gaze& gaze, const Map& map, Rays& rays, Batch& batch) {
  const int size = batch.size;
  for (int i = 0; i < size; ++i) {
    rays.u[i] = (rays.u[i] - gaze.lens.cx) / gaze.lens.fx;
    rays.v[i] = (rays.v[i] - gaze.lens.cy) / gaze.lens.fy;
  }
  with_family(gaze.lens, [&](auto its) { unproject_all<decltype(its)::family>(gaze.lens, size, rays); });
  int highest = map.height, lowest = 0;
  for (int i = 0; i < size; ++i) {
    const Place place = find_place(gaze, {rays.u[i], rays.v[i], rays.w[i]}, map.height, map.width);
    batch.top[i] = place.top, batch.left[i] = place.left;
    batch.across[i] = place.across, batch.down[i] = place.down;
    highest = std::min(highest, place.top), lowest = std::max(lowest, place.top);
  }
  batch.highest = highest, batch.lowest = std::min(lowest + 1, map.height - 1);
}

// Calls take(batch) for the empty pixels of a run, in order; take returns the batch to fill next.
template <class Take>
void for_batches(const Run& run, const Gaze& gaze, const Map& map, const std::int32_t* hits, Batch* batch,
                 const Take& take) {
  const double cell = double(1 << run.level);
  Rays rays;
  batch->size = 0;
  for (int row = 0; row < run.rows; ++row) {
    const std::size_t begin = run.first + std::size_t(row) * run.width;
    for (int x = 0; x < run.width; x += kStretch) {
      const int number = std::min(kStretch, run.width - x);
      const std::int32_t* in_row = hits + begin + x;
      if (!any_empty(in_row, number)) continue;
      int size = batch->size;
      for (int i = 0; i < number; ++i) {
        batch->pixel[size] = std::uint32_t(begin + x + i);
        rays.u[size] = (x + i + 0.5) * cell, rays.v[size] = (run.row + row + 0.5) * cell;
        size += in_row[i] == 0;
      }
      batch->size = size;
      if (size < kStretch) continue;
      find_places(gaze, map, rays, *batch);
      batch = take(*batch);
      batch->size = 0;
    }
  }
  if (batch->size == 0) return;
  find_places(gaze, map, rays, *batch);
  take(*batch);
}

struct Corners {
  std::size_t upper_left, upper_right, lower_left, lower_right;
};

Corners corners(const Map& map, int top, int left) {
  const int right = left + 1 == map.width ? 0 : left + 1, bottom = std::min(top + 1, map.height - 1);
  const std::size_t upper = std::size_t(top) * map.width, lower = std::size_t(bottom) * map.width;
  return {upper + left, upper + right, lower + left, lower + right};
}

// Channel by channel, so that one loop over pixels gathers what neighbours share.
void add_samples(const Batch& batch, const Map& map, const float* texture, float* features) {
  std::int32_t upper_left[kRoom], upper_right[kRoom], lower_left[kRoom], lower_right[kRoom];
  const int size = batch.size;
  for (int i = 0; i < size; ++i) {
    const int top = batch.top[i], left = batch.left[i], bottom = std::min(top + 1, map.height - 1);
    const int right = left + 1 == map.width ? 0 : left + 1;
    upper_left[i] = top * map.width + left, upper_right[i] = top * map.width + right;
    lower_left[i] = bottom * map.width + left, lower_right[i] = bottom * map.width + right;
  }
  for (int channel = 0; channel < map.channels; ++channel) {
    const float* plane = texture + channel * map.texels();
    float sample[kRoom];
    for (int i = 0; i < size; ++i) {
      const float upper = plane[upper_left[i]] + batch.across[i] * (plane[upper_right[i]] - plane[upper_left[i]]);
      const float lower = plane[lower_left[i]] + batch.across[i] * (plane[lower_right[i]] - plane[lower_left[i]]);
      sample[i] = upper + batch.down[i] * (lower - upper);
    }
    float* into = features + channel;
    for (int i = 0; i < size; ++i) into[std::size_t(batch.pixel[i]) * map.channels] += sample[i];
  }
}

// Batches of one run, with memory that is kept.
struct List {
  std::vector<Batch> batches;
  std::size_t used = 0, view = 0;
  Batch* next() {
    if (used == batches.size()) batches.emplace_back();
    return &batches[used];
  }
};

// Rows of the map that one task owns.
struct Band {
  int begin, end;
};

// Adds a batch's gradient to the rows of `band`.
void pull(const Batch& batch, const Map& map, Band band, const float* gradient, const std::ptrdiff_t step[3],
          float* texture) {
  for (int i = 0; i < batch.size; ++i) {
    const int top = batch.top[i], bottom = std::min(top + 1, map.height - 1);
    const bool upper = top >= band.begin && top < band.end, lower = bottom >= band.begin && bottom < band.end;
    if (!upper && !lower) continue;
    const Corners at = corners(map, top, batch.left[i]);
    const float across = batch.across[i], down = batch.down[i];
    const float* from = gradient + std::ptrdiff_t(batch.pixel[i]) * step[1];
    float* plane = texture;
    for (int channel = 0; channel < map.channels; ++channel, plane += map.texels()) {
      const float value = from[channel * step[2]], below = down * value, above = value - below;
      if (upper) plane[at.upper_left] += above - across * above, plane[at.upper_right] += across * above;
      if (lower) plane[at.lower_left] += below - across * below, plane[at.lower_right] += across * below;
    }
  }
}

// Twice as many bands as threads, with about as many pixels each. Where they end does not matter for the result.
std::vector<Band> make_bands(const std::vector<List>& lists, std::size_t runs, int height, int threads) {
  std::vector<std::size_t> pixels(height + 1);  // by the first row that their batch touches
  std::size_t total = 0;
  int end = 0;
  for (std::size_t run = 0; run < runs; ++run)
    for (std::size_t i = 0; i < lists[run].used; ++i) {
      const Batch& batch = lists[run].batches[i];
      pixels[batch.highest] += batch.size, total += batch.size;
      end = std::max(end, batch.lowest + 1);
    }
  const std::size_t share = threads == 1 ? total : (total + 2 * threads - 1) / (2 * threads);
  std::vector<Band> bands;
  std::size_t sum = 0;
  for (int row = 0, begin = 0; row < end; ++row) {
    sum += pixels[row];
    if (sum < share && row + 1 < end) continue;
    bands.push_back({begin, row + 1});
    begin = row + 1, sum = 0;
  }
  return bands;
}

}  // namespace

std::size_t Pyramids::pixels() const {
  std::size_t sum = 0;
  for (int level = 0; level < layers; ++level)
    sum += std::size_t(((height - 1) >> level) + 1) * std::size_t(((width - 1) >> level) + 1);
  return sum;
}

void fill_environment(const Pyramids& pyramids, const Map& map, const float* texture, const std::int32_t* hits,
                      const float* drawn, float* filled, int threads) {
  const std::size_t pixels = pyramids.pixels(), channels = map.channels;
  const std::vector<Run> runs = make_runs(pyramids);
  Pool::shared().run(runs.size(), threads, [&](std::size_t task, int) {
    const Run& run = runs[task];
    const Gaze gaze = read_gaze(pyramids.views + run.view * kViewNumbers);
    const std::size_t first = run.view * pixels;
    float* features = filled + first * channels;
    const std::size_t begin = run.first * channels, number = std::size_t(run.rows) * run.width * channels;
    std::memcpy(features + begin, drawn + first * channels + begin, number * sizeof(float));
    Batch batch;
    for_batches(run, gaze, map, hits + first, &batch, [&](const Batch& full) {
      add_samples(full, map, texture, features);
      return &batch;
    });
  });
}

void pull_environment(const Pyramids& pyramids, const Map& map, const float* gradient, const std::ptrdiff_t step[3],
                      const std::int32_t* hits, float* texture, int threads) {
  static std::mutex one_call;  // the lists are shared
  static std::vector<List>& lists = *new std::vector<List>;
  const std::scoped_lock lock(one_call);
  const std::size_t pixels = pyramids.pixels();
  const std::vector<Run> runs = make_runs(pyramids);
  if (lists.size() < runs.size()) lists.resize(runs.size());
  Pool::shared().run(runs.size(), threads, [&](std::size_t task, int) {
    const Run& run = runs[task];
    List& list = lists[task];
    list.used = 0, list.view = run.view;
    const Gaze gaze = read_gaze(pyramids.views + run.view * kViewNumbers);
    for_batches(run, gaze, map, hits + run.view * pixels, list.next(), [&](const Batch&) {
      ++list.used;
      return list.next();
    });
  });
  const std::vector<Band> bands = make_bands(lists, runs.size(), map.height, threads);
  Pool::shared().run(bands.size(), threads, [&](std::size_t task, int) {
    const Band band = bands[task];
    for (std::size_t run = 0; run < runs.size(); ++run) {
      const List& list = lists[run];
      const float* of_view = gradient + std::ptrdiff_t(list.view) * step[0];
      for (std::size_t i = 0; i < list.used; ++i) {
        const Batch& batch = list.batches[i];
        if (batch.highest < band.end && batch.lowest >= band.begin) pull(batch, map, band, of_view, step, texture);
      }
    }
  });
}

}  // namespace unrender
