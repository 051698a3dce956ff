// Runs of blocks go to threads. A point lies in one block, so that nobody else writes its row; what a run adds to a view's
// row is kept apart and added up in the order of the runs: the same bits for any number of threads.
#include "spatial_cpu.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "../threads.h"
#include "rows.h"
#include "tiles.h"

namespace unrender {

namespace {

constexpr std::size_t kRun = 64;  // blocks

using Row = std::array<double, kViewFloats>;

// One view with all that its points are compared with.
struct Scene {
  const View& view;
  const Settings& settings;
  const Layout& layout;
  const Spatial& tensors;
  std::size_t pixels;  // where the view's begin
  std::uint32_t ghost_key;
  int channels;
  float fuzzy;  // 1 + alpha
  float alpha;
};

// A point that may move.
struct Mover {
  int column, row;  // of the finest layer; may lie outside the image
  float depth, relief;
  int layers;  // that draw it
  const float* descriptors;
};

std::size_t pixel_number(const Scene& scene, int column, int row, int level) {
  const auto& size = scene.layout.levels[level];
  return scene.pixels + size.first + std::size_t(row >> level) * size.width + std::size_t(column >> level);
}

bool is_in_image(const Scene& scene, int column, int row) {
  return column >= 0 && column < scene.settings.width && row >= 0 && row < scene.settings.height;
}

// The share of the move and the pixels that feel it; home is of no account where it is not uncovered.
Arrival arrive(const Scene& scene, const Mover& mover, int level, bool at_home, std::size_t home, std::size_t there) {
  const Spatial& tensors = scene.tensors;
  const Stand found{tensors.depth[there], tensors.count[there]};
  switch (tensors.moves) {
    case Moves::replace: return {1.0f, false};
    case Moves::alone: return {arrival_share(mover.depth, found, scene.fuzzy), false};
    case Moves::together: break;
  }
  if (!at_home) return {0.0f, false};
  const float band = 1.0f + (scene.alpha + float(1 << level) * mover.relief);
  return arrive_together(mover.depth, {tensors.depth[home], tensors.count[home]}, found, scene.fuzzy, band);
}

// (T - I(q)) . (d loss / d I(q), and of the pixel left where that is uncovered), over channels.
double felt_change(const Scene& scene, const Mover& mover, std::size_t there, const float* uncovered) {
  const float* image = scene.tensors.image + there * scene.channels;
  const float* gradient = scene.tensors.gradient + there * scene.channels;
  double sum = 0;
  for (int channel = 0; channel < scene.channels; ++channel) {
    const float felt = uncovered ? gradient[channel] + uncovered[channel] : gradient[channel];
    sum += double((mover.descriptors[channel] - image[channel]) * felt);
  }
  return sum;
}

// d loss / d (u, v), per fine pixel: Eq. 9 to 11, over all layers that draw the point.
std::array<double, 2> pixel_gradient(const Scene& scene, const Mover& mover) {
  std::array<double, 2> total{};
  const bool at_home = is_in_image(scene, mover.column, mover.row);
  for (int level = 0; level < mover.layers; ++level) {
    const std::size_t home = at_home ? pixel_number(scene, mover.column, mover.row, level) : 0;
    for (int axis = 0; axis < 2; ++axis) {
      for (int sign = -1; sign <= 1; sign += 2) {
        const int step = sign * (1 << level);
        const int column = mover.column + (axis == 0 ? step : 0), row = mover.row + (axis == 1 ? step : 0);
        if (!is_in_image(scene, column, row)) continue;
        const std::size_t there = pixel_number(scene, column, row, level);
        const Arrival arrival = arrive(scene, mover, level, at_home, home, there);
        if (arrival.share == 0) continue;
        const float* uncovered = arrival.uncovers ? scene.tensors.gradient + home * scene.channels : nullptr;
        total[axis] += 0.5 * sign / double(1 << level) * arrival.share * felt_change(scene, mover, there, uncovered);
      }
    }
  }
  return total;
}

template <Family F>
void add_to_row(const Pull& pull, Row& row) {
  const auto add = [&row](std::size_t at, const double* numbers, int count) {
    for (int i = 0; i < count; ++i) row[at + i] += numbers[i];
  };
  add(0, pull.rotation, 9);
  add(9, pull.translation, 3);
  add(15, pull.focal, 2);       // after the eye
  add(17, pull.center, 2);
  if constexpr (F != Family::panorama) add(21, pull.distortion, 4);  // after the scale
  add(kViewFloats - kTerms, pull.terms, terms_of(F));
}

template <Family F>
void move_point(const Scene& scene, const Lot& lot, unsigned i, const Mover& mover, Row& row) {
  const auto [by_u, by_v] = pixel_gradient(scene, mover);
  if (by_u == 0 && by_v == 0) return;
  const Pull pull = pull_back<F>(scene.view, lot.x[i], lot.y[i], lot.z[i], by_u, by_v);
  add_to_row<F>(pull, row);
  if (scene.tensors.position == nullptr) return;
  float* position = scene.tensors.position + 3 * std::size_t(lot.index[i]);
  for (int axis = 0; axis < 3; ++axis) position[axis] += static_cast<float>(pull.position[axis]);
}

// What of a lot is known at once, in a loop that vectorises.
struct Looks {
  alignas(64) float u[kStep], v[kStep], depth[kStep], magnification[kStep];
  alignas(64) std::int32_t carries[kStep];
};

template <Family F>
void look(const Scene& scene, const Lot& lot, Looks& to) {
  const View& view = scene.view;
  const float margin = float(1 << (scene.settings.layers - 1));
  const float width = float(scene.settings.width) + margin, height = float(scene.settings.height) + margin;
  const int ghosts = scene.tensors.carriers != Carriers::rendered, rest = scene.tensors.carriers != Carriers::ghosts;
  for (unsigned i = 0; i < kStep; ++i) {
    const Seen seen = see<F>(view, lot.x[i], lot.y[i], lot.z[i]);
    const int near = int(seen.u >= -margin) & int(seen.u < width) & int(seen.v >= -margin) & int(seen.v < height);
    const int faces = is_facing(view, lot.x[i], lot.y[i], lot.z[i], lot.nx[i], lot.ny[i], lot.nz[i]);
    const int ghost = is_ghost(scene.ghost_key, lot.index[i], scene.settings.ghosts);
    to.carries[i] = int(is_inside<F>(view, seen)) & near & faces & ((ghost & ghosts) | ((1 - ghost) & rest));
    to.u[i] = seen.u, to.v[i] = seen.v, to.depth[i] = seen.depth;
    to.magnification[i] = magnification<F>(view.lens, seen);
  }
}

int layers_drawn(const Settings& settings, float reach) {
  int layers = 0;
  if (!(settings.gamma > 0)) return settings.layers;
  while (layers < settings.layers && is_drawn(settings.gamma * reach, layers)) ++layers;
  return layers;
}

template <Family F>
void move_lot(const Scene& scene, const Lot& lot, Row& row) {
  Looks seen;
  look<F>(scene, lot, seen);
  for (unsigned i = 0; i < kStep; ++i) {
    if (!seen.carries[i]) continue;
    const int layers = layers_drawn(scene.settings, seen.magnification[i] * lot.reach[i]);
    if (layers == 0) continue;
    const Mover mover{static_cast<int>(std::floor(seen.u[i])),
                      static_cast<int>(std::floor(seen.v[i])),
                      seen.depth[i],
                      scene.tensors.slope / (seen.depth[i] * seen.magnification[i]),
                      layers,
                      scene.tensors.descriptors + std::size_t(lot.index[i]) * scene.channels};
    move_point<F>(scene, lot, i, mover, row);
  }
}

// The view's image with a rim from which points may come in, as one tile.
Window window_with_rim(const View& view, const Settings& settings) {
  const int rim = 1 << (settings.layers - 1);
  Window window{view, settings.height + 2 * rim, settings.width + 2 * rim, 1 << 24, settings.gamma};
  window.view.lens.cx += float(rim), window.view.lens.cy += float(rim);
  return window;
}

}  // namespace

void spatial_gradient(const PointBlocks& blocks, const View* views, std::size_t count, const Settings& settings,
                      int channels, const Spatial& tensors, int threads) {
  const Layout layout(settings, tile_edge(settings, channels));
  const std::size_t runs = (blocks.blocks() + kRun - 1) / kRun;
  std::vector<Row> partial(runs * count, Row{});
  Pool::shared().run(runs, threads, [&](std::size_t run, int) {
    for (std::size_t view = 0; view < count; ++view) {
      const Window window = window_with_rim(views[view], settings);
      const auto key = ghost_key(settings.seed, static_cast<unsigned>(view));
      const Scene scene{views[view],   settings, layout,   tensors,       view * layout.pixels,
                        key,           channels, settings.band, settings.alpha};
      for (std::size_t block = run * kRun; block < std::min((run + 1) * kRun, blocks.blocks()); ++block) {
        const Footprint seen = blocks.footprint(block, window);
        const Lot* lot = blocks.lots(block);
        with_family(views[view].lens, [&](auto its) {
          for (const Lot* end = lot + (seen.count + kStep - 1) / kStep; lot < end; ++lot)
            move_lot<decltype(its)::family>(scene, *lot, partial[run * count + view]);
        });
      }
    }
  });
  if (tensors.rows == nullptr) return;
  std::fill_n(tensors.rows, count * kViewFloats, 0.0);
  for (std::size_t at = 0; at < partial.size(); ++at)
    for (int number = 0; number < kViewFloats; ++number)
      tensors.rows[at % count * kViewFloats + number] += partial[at][number];
}

}  // namespace unrender
