// Matrix products of bf16 numbers with sums in float32, for processors that multiply such numbers in pairs.
//
// A factor on the left is read as it stands, row by row. One on the right is laid out in panels of PANEL columns, in
// which the numbers of two rows stand in turn: a vector of a panel holds LANES pairs, to be multiplied with one pair of a
// row on the left. The last panel may be narrower, of whole vectors; what is missing in them is 0.
//
// Each sum goes over its products in the same order whoever computes it: nothing depends on the threads. They take their
// tasks as they come, for the cores of a shared machine are not equally fast.

#pragma once

#include <algorithm>
#include <memory>

#include "numbers.h"

namespace seqtrain {

constexpr int64_t TILE_ROWS = 8;  // whose sums, with the vectors of a panel, take half of the registers
constexpr int64_t TILE_VECTORS = 2;
constexpr int64_t PANEL = TILE_VECTORS * LANES;
constexpr int64_t ROWS_OF_TASK = 64;
constexpr int64_t BYTES_OF_PANELS = 1 << 18;  // that a task's rows meet before the next ones: a part of the second cache

struct Product {
    int64_t num_rows;
    int64_t depth;  // that is summed over
    int64_t width;
    int64_t has_relu;
};

// Pairs of numbers on the left: pair k of row r.
struct Pairs {
    const bfloat16* first;
    int64_t row_stride;
    int64_t pair_stride;

    words at(int64_t r, int64_t k) const {
        uint32_t pair;
        std::memcpy(&pair, first + r * row_stride + k * pair_stride, sizeof pair);
        return pair - words{};
    }
};

// Gives finish(row, vector, sums) the product of ROWS rows with VECTORS vectors of a panel.
template <int64_t ROWS, int64_t VECTORS, class F>
void multiply_tile(Pairs left, const bfloat16* panel, int64_t num_pairs, F finish) {
    vector sums[ROWS][VECTORS] = {};
    for (int64_t k = 0; k < num_pairs; ++k) {
        words right[VECTORS];
        for (int64_t v = 0; v < VECTORS; ++v) right[v] = load_pairs(panel + 2 * LANES * (k * VECTORS + v));
        for (int64_t r = 0; r < ROWS; ++r) {
            const words pair = left.at(r, k);
            for (int64_t v = 0; v < VECTORS; ++v) sums[r][v] = add_products(sums[r][v], pair, right[v]);
        }
    }
    for (int64_t r = 0; r < ROWS; ++r)
        for (int64_t v = 0; v < VECTORS; ++v) finish(r, v, sums[r][v]);
}

// The same of a panel that may be the last one, with so many columns.
template <int64_t ROWS, class F>
void multiply_panel(Pairs left, const bfloat16* panel, int64_t num_pairs, int64_t num_columns, F finish) {
    if (num_columns > LANES)
        multiply_tile<ROWS, TILE_VECTORS>(left, panel, num_pairs, finish);
    else
        multiply_tile<ROWS, 1>(left, panel, num_pairs, finish);
}

template <class T>
words load_bits_of_part(const T* place, int64_t size) {
    if (size >= LANES) return load_bits(place);
    T row[LANES] = {};
    std::copy(place, place + size, row);
    return load_bits(row);
}

// A panel of a matrix (depth, .), from the first of its columns; from row to row there are `stride` numbers.
template <class T>
void pack_panel(const T* matrix, int64_t stride, int64_t depth, int64_t num_columns, bfloat16* panel) {
    const int64_t columns = round_up(num_columns);
    const auto pack_rows = [&](auto load) {
        for (int64_t k = 0; k < depth; k += 2)
            for (int64_t c = 0; c < columns; c += LANES) {
                const T* even = matrix + k * stride + c;
                const words below = k + 1 < depth ? load(even + stride, num_columns - c) : words{};
                store_pairs(panel + k * columns + 2 * c, load(even, num_columns - c) | (below << 16));
            }
    };
    if (columns == num_columns)
        pack_rows([](const T* place, int64_t) { return load_bits(place); });
    else
        pack_rows(load_bits_of_part<T>);
}

// A matrix (depth, width) in panels.
template <class T>
void pack(const Product& product, const T* matrix, bfloat16* panels) {
    const int64_t depth = product.depth, width = product.width, even_depth = depth + depth % 2;
#pragma omp parallel for schedule(dynamic)
    for (int64_t c = 0; c < width; c += PANEL)
        pack_panel(matrix + c, width, depth, std::min(PANEL, width - c), panels + c * even_depth);
}

// A matrix (width, depth) in the panels of its transpose; depth is a multiple of 2 LANES.
template <class T>
void pack_transpose(const Product& product, const T* matrix, bfloat16* panels) {
    const int64_t depth = product.depth, width = product.width;
#pragma omp parallel for schedule(dynamic)
    for (int64_t c = 0; c < width; c += LANES) {
        const int64_t start = c / PANEL * PANEL, num_columns = std::min(PANEL, round_up(width - start));
        bfloat16* place = panels + start * depth + 2 * (c - start);
        for (int64_t k = 0; k < depth; k += 2 * LANES) {
            vector tile[LANES];
            for (int64_t l = 0; l < LANES; ++l)
                tile[l] = c + l < width ? (vector)load_pairs(matrix + (c + l) * depth + k) : vector{};
            transpose_tile(tile);
            for (int64_t l = 0; l < LANES; ++l) store_pairs(place + (k + 2 * l) * num_columns, (words)tile[l]);
        }
    }
}

// out (R, W) = rows (R, D) times panels, plus a bias (W,), and 0 for what is less if there is a ReLU. Before `count` rows
// from this one on are multiplied, rows_from(start, count) says where they are. D is even; W is one of whole vectors where
// there is a bias.
template <class Out, class F>
void multiply(const Product& product, F rows_from, const bfloat16* panels, const float* bias, Out* out) {
    const int64_t depth = product.depth, width = product.width;
    const int64_t width_of_group = std::max<int64_t>(1, BYTES_OF_PANELS / (2 * PANEL * depth)) * PANEL;
#pragma omp parallel for schedule(dynamic)
    for (int64_t start = 0; start < product.num_rows; start += ROWS_OF_TASK) {
        const int64_t count = std::min(ROWS_OF_TASK, product.num_rows - start);
        const bfloat16* left = rows_from(start, count);
        for (int64_t group = 0; group < width; group += width_of_group)
            in_parts<TILE_ROWS>(count, [&](int64_t first, auto size) {
                const Pairs pairs = {left + first * depth, depth, 2};
                Out* own_rows = out + (start + first) * width;
                for (int64_t c = group; c < std::min(width, group + width_of_group); c += PANEL) {
                    for (int64_t r = 0; r < size; ++r)
                        for (int64_t v = 0; v < TILE_VECTORS; ++v)  // what is written soon
                            __builtin_prefetch(own_rows + r * width + c + v * LANES, 1, 3);
                    const auto finish = [&](int64_t r, int64_t v, vector sums) {
                        const int64_t column = c + v * LANES;
                        if (bias != nullptr) sums += load_vector(bias + column);
                        if (product.has_relu) sums = sums < 0.0f ? broadcast(0.0f) : sums;
                        Out* place = own_rows + r * width + column;
                        if (width - column >= LANES)
                            store_vector(place, sums);
                        else
                            store_part(place, width - column, sums);
                    };
                    multiply_panel<size>(pairs, panels + c * depth, depth / 2, width - c, finish);
                }
            });
    }
}

// The same of rows as they are, and of rows in float32, which are written to rounded (R, D) on the way.
template <class Out>
void multiply(const Product& product, const bfloat16* rows, const bfloat16* panels, const float* bias, bfloat16*,
              Out* out) {
    multiply(product, [&](int64_t start, int64_t) { return rows + start * product.depth; }, panels, bias, out);
}

template <class Out>
void multiply(const Product& product, const float* rows, const bfloat16* panels, const float* bias, bfloat16* rounded,
              Out* out) {
    const auto round_rows = [&](int64_t start, int64_t count) {
        for (int64_t i = start * product.depth; i < (start + count) * product.depth; i += LANES)
            store_vector(rounded + i, load_vector(rows + i));
        return rounded + start * product.depth;
    };
    multiply(product, round_rows, panels, bias, out);
}

// Adds a block (num_rows, num_columns), with a stride from row to row, to what is in out, or writes it there.
inline void store_block(const float* block, int64_t stride, int64_t num_rows, int64_t num_columns, bool adds,
                        int64_t out_stride, float* out) {
    for (int64_t r = 0; r < num_rows; ++r)
        for (int64_t c = 0; c < num_columns; c += LANES) {
            const vector values = load_vector(block + r * stride + c);
            float* place = out + r * out_stride + c;
            store_vector(place, adds ? load_vector(place) + values : values);
        }
}

// The same of its transpose, of whole vectors.
inline void store_transpose(const float* block, int64_t stride, int64_t num_rows, int64_t num_columns, bool adds,
                            int64_t out_stride, float* out) {
    for (int64_t c = 0; c < num_columns; c += LANES)
        for (int64_t r = 0; r < num_rows; r += LANES) {
            vector tile[LANES];
            for (int64_t l = 0; l < LANES; ++l) tile[l] = load_vector(block + (r + l) * stride + c);
            transpose_tile(tile);
            for (int64_t l = 0; l < LANES; ++l) {
                float* place = out + (c + l) * out_stride + r;
                store_vector(place, adds ? load_vector(place) + tile[l] : tile[l]);
            }
        }
}

struct ColumnProduct {
    int64_t num_rows;  // columns of the left
    int64_t depth;
    int64_t width;  // of the right, whole vectors
    int64_t adds;   // to what is there
    int64_t is_transposed;
};

// out (R, W) = left' (D, R) times right (D, W), or out (W, R) its transpose if R is one of whole vectors too. right_panels
// is memory to work in: as large as right with an even number of rows.
inline void multiply_columns(const ColumnProduct& product, const bfloat16* left, const bfloat16* right, float* out,
                             bfloat16* right_panels) {
    constexpr int64_t STRIP = 64, GROUP = 256;  // rows and columns of the product that are a task
    constexpr int64_t SUMMANDS = 2048;          // at a time: a strip and a panel of so many stay in the second cache
    const int64_t num_rows = product.num_rows, depth = product.depth, width = product.width;
#pragma omp parallel
    {
        const std::unique_ptr<bfloat16[]> strip(new bfloat16[STRIP * SUMMANDS]);
        const std::unique_ptr<float[]> block(new float[STRIP * GROUP]);
#pragma omp for schedule(dynamic) collapse(2)
        for (int64_t first = 0; first < depth; first += SUMMANDS)
            for (int64_t c = 0; c < width; c += PANEL) {
                const int64_t size = std::min(SUMMANDS, depth - first);
                pack_panel(right + first * width + c, width, size, std::min(PANEL, width - c),
                           right_panels + first * width + c * (size + size % 2));
            }
#pragma omp for schedule(dynamic) collapse(2)
        for (int64_t start = 0; start < num_rows; start += STRIP)
            for (int64_t group = 0; group < width; group += GROUP) {
                const int64_t count = std::min(STRIP, num_rows - start), num_columns = std::min(GROUP, width - group);
                for (int64_t first = 0; first < depth; first += SUMMANDS) {
                    const int64_t size = std::min(SUMMANDS, depth - first), even_size = size + size % 2;
                    pack_panel(left + first * num_rows + start, num_rows, size, count, strip.get());
                    for (int64_t c = 0; c < num_columns; c += PANEL)
                        in_parts<TILE_ROWS>(count, [&](int64_t row, auto size_of_part) {
                            const auto finish = [&](int64_t r, int64_t v, vector sums) {
                                float* place = block.get() + (row + r) * GROUP + c + v * LANES;
                                store_vector(place, first > 0 ? load_vector(place) + sums : sums);
                            };
                            multiply_panel<size_of_part>({strip.get() + 2 * row, 2, 2 * round_up(count)},
                                                         right_panels + first * width + (group + c) * even_size,
                                                         even_size / 2, num_columns - c, finish);
                        });
                }
                if (product.is_transposed)
                    store_transpose(block.get(), GROUP, count, num_columns, product.adds, num_rows,
                                    out + group * num_rows + start);
                else
                    store_block(block.get(), GROUP, count, num_columns, product.adds, width,
                                out + start * width + group);
            }
    }
}

}  // namespace seqtrain
