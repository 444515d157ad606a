// Kernels of a training update on a CPU. Each does in one pass over little memory what takes torch several operators,
// with a pass over much memory each. Results do not depend on the number of threads.
//
// Compiled for the machine at hand; see build.py. Python says what the arguments are: see training_kernels.py.

#include <algorithm>
#include <vector>

#include "numbers.h"
#include "products.h"

namespace seqtrain {
namespace {

// ---- Softmax and its gradient -------------------------------------------------------------------------------------

// Turns row (width,) into exp(row - greatest), and returns the sum.
inline float exponentials(float* row, int64_t width, float greatest) {
    vector sum = {};
    for (int64_t i = 0; i < width; i += LANES) {
        const vector values = exponential(load_vector(row + i) - greatest);
        store_vector(row + i, values);
        sum += values;
    }
    return sum_of_lanes(sum);
}

struct Loss {
    int64_t num_rows;
    int64_t num_types;
    double target_share;
    int64_t wants_gradient;
};

// logits (C, V) -> norms (C,), target_logits (C,); where it is wanted, logits become softmax - target_share [v = y].
template <class T>
void softmax_gradient(const Loss& loss, T* logits, const int64_t* targets, float* norms, float* target_logits) {
    const int64_t num_types = loss.num_types;
    const int64_t whole = num_types / LANES * LANES, width = round_up(num_types);
#pragma omp parallel
    {
        std::vector<float> row(width);
#pragma omp for schedule(static)
        for (int64_t r = 0; r < loss.num_rows; ++r) {
            T* x = logits + r * num_types;
            vector greatest = broadcast(-INFINITY);
            for (int64_t i = 0; i < width; i += LANES) {
                const vector values = i < whole ? load_vector(x + i) : load_part(x + i, num_types - i, -INFINITY);
                store_vector(row.data() + i, values);
                greatest = greater_of(values, greatest);
            }
            target_logits[r] = row[targets[r]];
            const float most = greatest_lane(greatest);
            const float sum = exponentials(row.data(), width, most);
            norms[r] = most + std::log(sum);
            if (!loss.wants_gradient) continue;
            row[targets[r]] -= float(loss.target_share) * sum;
            const float factor = 1.0f / sum;
            for (int64_t i = 0; i < whole; i += LANES) store_vector(x + i, load_vector(row.data() + i) * factor);
            if (whole < width) store_part(x + whole, num_types - whole, load_vector(row.data() + whole) * factor);
        }
    }
}

// ---- Random bits --------------------------------------------------------------------------------------------------

typedef uint64_t longs __attribute__((vector_size(64)));

constexpr int64_t STREAMS = 8;  // that are drawn from side by side
constexpr int64_t DRAWS_OF_STREAM = 1 << 15;
constexpr int64_t DRAWS_TO_WARM_UP = 12;

// Small fast chaotic generators (Doty-Humphrey, PractRand), as numpy's SFC64: each of STREAMS ones in a lane.
struct Generators {
    longs a, b, c, counter;

    // Of this stream and those that follow.
    Generators(uint64_t seed, int64_t first_stream) : a(seed - longs{}), b{}, c{}, counter(1 - longs{}) {
        for (int64_t l = 0; l < STREAMS; ++l) b[l] = uint64_t(first_stream + l);
        for (int64_t i = 0; i < DRAWS_TO_WARM_UP; ++i) draw();
    }

    longs draw() {
        const longs result = a + b + counter;
        counter += 1;
        a = b ^ (b >> 11);
        b = c + (c << 3);
        c = ((c << 24) | (c >> 40)) + result;
        return result;
    }
};

// Fills bits (num_draws,), a multiple of STREAMS, stream by stream.
void draw_bits(uint64_t seed, int64_t num_draws, uint64_t* bits) {
    constexpr int64_t DRAWS_OF_GROUP = STREAMS * DRAWS_OF_STREAM;
#pragma omp parallel for schedule(static)
    for (int64_t start = 0; start < num_draws; start += DRAWS_OF_GROUP) {
        Generators generators(seed, start / DRAWS_OF_STREAM);
        for (int64_t first = 0; first < std::min(DRAWS_OF_STREAM, num_draws - start); first += STREAMS) {
            uint64_t square[STREAMS][STREAMS];
            for (int64_t i = 0; i < STREAMS; ++i) {
                const longs drawn = generators.draw();
                std::memcpy(square[i], &drawn, sizeof drawn);
            }
            for (int64_t place = start + first, l = 0; l < STREAMS && place < num_draws; place += DRAWS_OF_STREAM, ++l)
                for (int64_t i = 0; i < STREAMS; ++i) bits[place + i] = square[i][l];
        }
    }
}

// ---- Dropout, residual connection, layer norm ---------------------------------------------------------------------

constexpr int64_t ROWS_OF_BLOCK = 64;  // whose share in the gradients of gain and bias is summed up by itself

struct ResidualNorm {
    int64_t num_rows;
    int64_t dim;
    int64_t threshold;  // an element is kept if its 16 random bits are at least this
    double scale;       // of what is kept
    double epsilon;
};

// What to multiply LANES elements with.
inline vector kept(const ResidualNorm& norm, const int16_t* bits) {
    if (bits == nullptr) return broadcast(1.0f);
    shorts values;
    std::memcpy(&values, bits, sizeof values);
    const integers is_kept = __builtin_convertvector(values, integers) >= int32_t(norm.threshold);
    return is_kept ? broadcast(float(norm.scale)) : broadcast(0.0f);
}

// s = x + dropout(output), y = (s - mean) / deviation gain + bias, all (R, D), y also rounded to T if rounded is there;
// statistics (R, 2): mean, 1 / deviation.
template <class T>
void residual_norm(const ResidualNorm& norm, const float* x, const T* output, const int16_t* bits, const float* gain,
                   const float* bias, float* s, float* y, T* rounded, float* statistics) {
    const int64_t dim = norm.dim;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < norm.num_rows; ++r) {
        const int64_t start = r * dim;
        const int16_t* row_bits = bits == nullptr ? nullptr : bits + start;
        float* sums = s + start;
        vector total = {}, squares = {};
        for (int64_t i = 0; i < dim; i += LANES) {
            const vector factor = kept(norm, row_bits == nullptr ? nullptr : row_bits + i);
            const vector sum = load_vector(x + start + i) + load_vector(output + start + i) * factor;
            store_vector(sums + i, sum);
            total += sum;
        }
        const float mean = sum_of_lanes(total) / dim;
        for (int64_t i = 0; i < dim; i += LANES) {
            const vector difference = load_vector(sums + i) - mean;
            squares += difference * difference;
        }
        const float inverse = 1.0f / std::sqrt(sum_of_lanes(squares) / dim + float(norm.epsilon));
        for (int64_t i = 0; i < dim; i += LANES) {
            const vector normal = (load_vector(sums + i) - mean) * inverse;
            const vector result = normal * load_vector(gain + i) + load_vector(bias + i);
            store_vector(y + start + i, result);
            if (rounded != nullptr) store_vector(rounded + start + i, result);
        }
        statistics[2 * r] = mean;
        statistics[2 * r + 1] = inverse;
    }
}

// The gradients of x and output (R, D), gain and bias (D,), from those of y and, if it is there, of its rounded twin;
// shares (blocks, 2, D) is memory to work in.
template <class T>
void residual_norm_gradient(const ResidualNorm& norm, const float* y_grad, const T* rounded_grad, const float* s,
                            const float* statistics, const int16_t* bits, const float* gain, float* x_grad,
                            T* output_grad, float* gain_grad, float* bias_grad, float* shares) {
    const int64_t dim = norm.dim, num_blocks = (norm.num_rows + ROWS_OF_BLOCK - 1) / ROWS_OF_BLOCK;
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < num_blocks; ++block) {
        float* gain_share = shares + 2 * block * dim;
        float* bias_share = gain_share + dim;
        std::fill(gain_share, gain_share + 2 * dim, 0.0f);
        const int64_t end = std::min(norm.num_rows, (block + 1) * ROWS_OF_BLOCK);
        for (int64_t r = block * ROWS_OF_BLOCK; r < end; ++r) {
            const int64_t start = r * dim;
            const int16_t* row_bits = bits == nullptr ? nullptr : bits + start;
            const float mean = statistics[2 * r], inverse = statistics[2 * r + 1];
            const auto grad_at = [&](int64_t i) {
                const vector grad = load_vector(y_grad + start + i);
                return rounded_grad == nullptr ? grad : grad + load_vector(rounded_grad + start + i);
            };
            vector totals = {}, products = {};
            for (int64_t i = 0; i < dim; i += LANES) {
                const vector normal = (load_vector(s + start + i) - mean) * inverse;
                const vector grad = grad_at(i), scaled = grad * load_vector(gain + i);
                store_vector(gain_share + i, load_vector(gain_share + i) + grad * normal);
                store_vector(bias_share + i, load_vector(bias_share + i) + grad);
                totals += scaled;
                products += scaled * normal;
            }
            const float total = sum_of_lanes(totals) / dim, product = sum_of_lanes(products) / dim;
            for (int64_t i = 0; i < dim; i += LANES) {
                const vector normal = (load_vector(s + start + i) - mean) * inverse;
                const vector scaled = grad_at(i) * load_vector(gain + i);
                const vector grad = (scaled - total - normal * product) * inverse;
                store_vector(x_grad + start + i, grad);
                store_vector(output_grad + start + i, grad * kept(norm, row_bits == nullptr ? nullptr : row_bits + i));
            }
        }
    }
    std::fill(gain_grad, gain_grad + dim, 0.0f);
    std::fill(bias_grad, bias_grad + dim, 0.0f);
    for (int64_t block = 0; block < num_blocks; ++block) {  // in order, whoever has made them
        const float* share = shares + 2 * block * dim;
        for (int64_t i = 0; i < dim; ++i) gain_grad[i] += share[i];
        for (int64_t i = 0; i < dim; ++i) bias_grad[i] += share[dim + i];
    }
}

// ---- Gradient of a linear layer -----------------------------------------------------------------------------------

struct Linear {
    int64_t num_rows;
    int64_t dim;
};

// A gradient (R, D) and, behind a ReLU, its output (R, D): what it lets through is written to passed (R, D). Each
// ROWS_OF_BLOCK rows have the sums of their columns in a row of shares (blocks, D).
template <class T>
struct LinearGradient {
    const T* grad;
    const T* output;
    T* passed;
    float* shares;

    // Does so with a block; returns its rows.
    const T* of_block(int64_t start, int64_t count, int64_t dim) const {
        float* share = shares + start / ROWS_OF_BLOCK * dim;
        std::fill(share, share + dim, 0.0f);
        for (int64_t r = start; r < start + count; ++r)
            for (int64_t i = 0; i < dim; i += LANES) {
                vector values = load_vector(grad + r * dim + i);
                if (output != nullptr) {
                    values = load_vector(output + r * dim + i) > 0.0f ? values : broadcast(0.0f);
                    store_vector(passed + r * dim + i, values);
                }
                store_vector(share + i, load_vector(share + i) + values);
            }
        return (output == nullptr ? grad : passed) + start * dim;
    }

    // The sums of all columns (D,): in order, whoever has made their parts.
    void add_up(int64_t num_rows, int64_t dim, float* sums) const {
        std::fill(sums, sums + dim, 0.0f);
        for (int64_t start = 0; start < num_rows; start += ROWS_OF_BLOCK)
            for (int64_t i = 0; i < dim; ++i) sums[i] += shares[start / ROWS_OF_BLOCK * dim + i];
    }
};

template <class T>
void linear_gradient(const Linear& linear, const LinearGradient<T>& gradient, float* sums) {
#pragma omp parallel for schedule(static)
    for (int64_t start = 0; start < linear.num_rows; start += ROWS_OF_BLOCK)
        gradient.of_block(start, std::min(ROWS_OF_BLOCK, linear.num_rows - start), linear.dim);
    gradient.add_up(linear.num_rows, linear.dim, sums);
}

// The same, and the product with panels, for which the rows are in the cache then.
template <class Out>
void linear_input_gradient(const Product& product, const LinearGradient<bfloat16>& gradient, const bfloat16* panels,
                           float* sums, Out* out) {
    static_assert(ROWS_OF_TASK == ROWS_OF_BLOCK);
    const auto rows_from = [&](int64_t start, int64_t count) {
        return gradient.of_block(start, count, product.depth);
    };
    multiply(product, rows_from, panels, nullptr, out);
    gradient.add_up(product.num_rows, product.depth, sums);
}

// ---- Attention ----------------------------------------------------------------------------------------------------

struct Attention {
    int64_t num_sequences;
    int64_t num_heads;
    int64_t dim;           // of a head
    int64_t query_stride;  // from row to row
    int64_t key_stride;
    int64_t is_causal;
    double scale;
};

constexpr int64_t BLOCK = 64;          // queries that are worked on together
constexpr int64_t BYTES_OF_LINE = 64;  // of the cache

// Features of the rows of one head, copied side by side as float32 and scaled.
template <class T, int64_t DIM>
void gather(const T* rows, int64_t stride, int64_t num_rows, int64_t any_dim, float scale, float* to) {
    const int64_t dim = DIM > 0 ? DIM : any_dim;
    for (int64_t r = 0; r < num_rows; ++r)
        for (int64_t c = 0; c < dim; c += LANES)
            store_vector(to + r * dim + c, load_vector(rows + r * stride + c) * scale);
}

// The way back.
template <class T, int64_t DIM>
void scatter(const float* rows, int64_t num_rows, int64_t any_dim, float scale, int64_t stride, T* to) {
    const int64_t dim = DIM > 0 ? DIM : any_dim;
    for (int64_t r = 0; r < num_rows; ++r)
        for (int64_t c = 0; c < dim; c += LANES)
            store_vector(to + r * stride + c, load_vector(rows + r * dim + c) * scale);
}

// A matrix (rows, dim) as (dim, width), with zeros behind the last row.
template <int64_t DIM>
void transpose(const float* matrix, int64_t num_rows, int64_t any_dim, int64_t width, float* to) {
    const int64_t dim = DIM > 0 ? DIM : any_dim;
    for (int64_t r = 0; r < width; r += LANES)
        for (int64_t c = 0; c < dim; c += LANES) {
            vector tile[LANES];
            for (int64_t l = 0; l < LANES; ++l)
                tile[l] = r + l < num_rows ? load_vector(matrix + (r + l) * dim + c) : broadcast(0.0f);
            transpose_tile(tile);
            for (int64_t l = 0; l < LANES; ++l) store_vector(to + (c + l) * width + r, tile[l]);
        }
}

// N rows of out (., width) = rows (N, dim) times columns (dim, width).
template <int64_t DIM, int64_t N>
void score_rows(const float* rows, const float* columns, int64_t any_dim, int64_t width, float* out) {
    const int64_t dim = DIM > 0 ? DIM : any_dim;
    for (int64_t i = 0; i < width; i += LANES) {
        vector sums[N] = {};
        for (int64_t c = 0; c < dim; ++c) {
            const vector column = load_vector(columns + c * width + i);
            for (int64_t n = 0; n < N; ++n) sums[n] += rows[n * dim + c] * column;
        }
        for (int64_t n = 0; n < N; ++n) store_vector(out + n * width + i, sums[n]);
    }
}

// out (num_rows, width) = rows (num_rows, dim) times columns (dim, width).
template <int64_t DIM>
void score(const float* rows, const float* columns, int64_t dim, int64_t num_rows, int64_t width, float* out) {
    in_parts<8>(num_rows, [&](int64_t first, auto count) {
        score_rows<DIM, count>(rows + first * dim, columns, dim, width, out + first * width);
    });
}

// Weights in memory: that of row r for summand j.
struct Weights {
    const float* first;
    int64_t row_stride;
    int64_t summand_stride;
};

// N rows of out (., dim) += their weights times rows (size, dim).
template <int64_t DIM, int64_t N>
void add_rows(Weights weights, const float* rows, int64_t any_dim, int64_t size, float* out) {
    constexpr int64_t TILES = DIM % (2 * LANES) == 0 && DIM > 0 ? 2 : 1;
    const int64_t dim = DIM > 0 ? DIM : any_dim;
    for (int64_t c = 0; c < dim; c += TILES * LANES) {
        vector sums[N][TILES];
        for (int64_t n = 0; n < N; ++n)
            for (int64_t t = 0; t < TILES; ++t) sums[n][t] = load_vector(out + n * dim + c + t * LANES);
        for (int64_t j = 0; j < size; ++j) {
            const float* weight = weights.first + j * weights.summand_stride;
            for (int64_t t = 0; t < TILES; ++t) {
                const vector row = load_vector(rows + j * dim + c + t * LANES);
                for (int64_t n = 0; n < N; ++n) sums[n][t] += weight[n * weights.row_stride] * row;
            }
        }
        for (int64_t n = 0; n < N; ++n)
            for (int64_t t = 0; t < TILES; ++t) store_vector(out + n * dim + c + t * LANES, sums[n][t]);
    }
}

// out (num_rows, dim) += weights times rows (size, dim).
template <int64_t DIM>
void add_product(Weights weights, const float* rows, int64_t dim, int64_t num_rows, int64_t size, float* out) {
    in_parts<5>(num_rows, [&](int64_t first, auto count) {
        const Weights own = {weights.first + first * weights.row_stride, weights.row_stride, weights.summand_stride};
        add_rows<DIM, count>(own, rows, dim, size, out + first * dim);
    });
}

// What one thread works in: memory that grows to the largest size asked for.
struct Memory {
    std::vector<float> numbers;

    float* sized(int64_t size) {
        if (int64_t(numbers.size()) < size) numbers.resize(size);
        return numbers.data();
    }

    float* zeros(int64_t size) {
        float* start = sized(size);
        std::fill(start, start + size, 0.0f);
        return start;
    }
};

// A block of queries of one head of one sequence. Scores stand with the queries side by side (keys, width), so that
// softmax, which goes over the keys, works on as many queries at once as a vector has lanes.
struct Block {
    int64_t first;  // of the sequence's queries
    int64_t count;
    int64_t width;
    int64_t seen;  // keys that the last of the queries sees

    Block(const Attention& a, int64_t first_query, int64_t num_queries, int64_t num_keys)
        : first(first_query),
          count(std::min(BLOCK, num_queries - first_query)),
          width(round_up(count)),
          seen(a.is_causal ? std::min(num_keys, first_query + count) : num_keys) {}

    // Scores of LANES queries from `lane` on and a key as softmax reads them: with the bias, -inf where it is not seen.
    vector score(const Attention& a, const float* scores, const float* bias, int64_t key, int64_t lane) const {
        vector values = load_vector(scores + key * width + lane);
        if (bias != nullptr) values += bias[key];
        if (!a.is_causal || key <= first + lane) return values;
        integers query;
        for (int64_t l = 0; l < LANES; ++l) query[l] = int32_t(first + lane + l);
        return query >= int32_t(key) ? values : broadcast(-INFINITY);
    }
};

// Scores (keys, width) become probabilities; norms are their log-sum-exps (width,).
inline void softmax(const Attention& a, const Block& block, const float* bias, float* scores, float* norms) {
    for (int64_t lane = 0; lane < block.width; lane += LANES) {
        vector greatest = broadcast(-INFINITY), sum = {};
        for (int64_t j = 0; j < block.seen; ++j)
            greatest = greater_of(block.score(a, scores, bias, j, lane), greatest);
        for (int64_t j = 0; j < block.seen; ++j) {
            const vector value = exponential(block.score(a, scores, bias, j, lane) - greatest);
            store_vector(scores + j * block.width + lane, value);
            sum += value;
        }
        const vector factor = 1.0f / sum;
        for (int64_t j = 0; j < block.seen; ++j) {
            float* place = scores + j * block.width + lane;
            store_vector(place, load_vector(place) * factor);
        }
        for (int64_t l = 0; l < LANES; ++l) norms[lane + l] = greatest[l] + std::log(sum[l]);
    }
}

// One head of one sequence.
struct Head {
    int64_t number;
    int64_t offset;  // of its features in a row
    int64_t first_query;
    int64_t num_queries;
    int64_t first_key;
    int64_t num_keys;
};

inline Head head_of(int64_t task, int64_t num_heads, int64_t dim, const int64_t* query_bounds,
                    const int64_t* key_bounds) {
    const int64_t number = task % num_heads, sequence = task / num_heads;
    const int64_t first_query = query_bounds[sequence], first_key = key_bounds[sequence];
    return {number,    number * dim, first_query, query_bounds[sequence + 1] - first_query,
            first_key, key_bounds[sequence + 1] - first_key};
}

// Asks for features of some rows, which are read soon: a head's lie apart, and the machine foresees what lies in a row.
// GCC takes a function that does nothing else for one that does nothing, unless it is inlined.
template <class T>
__attribute__((always_inline)) inline void fetch(const T* rows, int64_t stride, int64_t dim, int64_t num_rows) {
    for (int64_t r = 0; r < std::min(BLOCK, num_rows); ++r)
        for (int64_t c = 0; c < dim; c += int64_t(BYTES_OF_LINE / sizeof(T)))
            __builtin_prefetch(rows + r * stride + c, 0, 2);  // for the second cache: the first one is in use
}

template <class T>
__attribute__((always_inline)) inline void fetch_head(const Attention& a, const Head& head, const T* queries,
                                                      const T* keys, const T* values) {
    fetch(queries + head.first_query * a.query_stride + head.offset, a.query_stride, a.dim, head.num_queries);
    fetch(keys + head.first_key * a.key_stride + head.offset, a.key_stride, a.dim, head.num_keys);
    fetch(values + head.first_key * a.key_stride + head.offset, a.key_stride, a.dim, head.num_keys);
}

// softmax(q k' scale + bias) v, by heads: rows (R, H d), and the log-sum-exp of each row and head (R, H).
template <class T, int64_t DIM>
void attend_heads(const Attention& a, const T* queries, const T* keys, const T* values, const int64_t* query_bounds,
                  const int64_t* key_bounds, const float* bias, T* output, float* norms) {
    const int64_t dim = DIM > 0 ? DIM : a.dim, num_heads = a.num_heads;
#pragma omp parallel
    {
        Memory q_memory, q_columns_memory, k_memory, v_memory, scores_memory, out_memory;
        float block_norms[BLOCK];
#pragma omp for schedule(static)
        for (int64_t task = 0; task < a.num_sequences * num_heads; ++task) {
            const auto [number, offset, first_query, num_queries, first_key, num_keys] =
                head_of(task, num_heads, dim, query_bounds, key_bounds);
            if (task + 1 < a.num_sequences * num_heads)
                fetch_head(a, head_of(task + 1, num_heads, dim, query_bounds, key_bounds), queries, keys, values);
            const float* key_bias = bias == nullptr ? nullptr : bias + first_key;
            float* k = k_memory.sized(num_keys * dim);
            float* v = v_memory.sized(num_keys * dim);
            gather<T, DIM>(keys + first_key * a.key_stride + offset, a.key_stride, num_keys, dim, 1.0f, k);
            gather<T, DIM>(values + first_key * a.key_stride + offset, a.key_stride, num_keys, dim, 1.0f, v);
            for (int64_t first = 0; first < num_queries; first += BLOCK) {
                const Block block(a, first, num_queries, num_keys);
                const int64_t row = first_query + first;
                float* q = q_memory.sized(block.count * dim);
                float* q_columns = q_columns_memory.sized(block.width * dim);
                float* scores = scores_memory.sized(block.seen * block.width);
                float* out = out_memory.zeros(block.count * dim);
                gather<T, DIM>(queries + row * a.query_stride + offset, a.query_stride, block.count, dim,
                               float(a.scale), q);
                transpose<DIM>(q, block.count, dim, block.width, q_columns);
                score<DIM>(k, q_columns, dim, block.seen, block.width, scores);
                softmax(a, block, key_bias, scores, block_norms);
                add_product<DIM>({scores, 1, block.width}, v, dim, block.count, block.seen, out);
                scatter<T, DIM>(out, block.count, dim, 1.0f, num_heads * dim, output + row * num_heads * dim + offset);
                for (int64_t i = 0; i < block.count; ++i) norms[(row + i) * num_heads + number] = block_norms[i];
            }
        }
    }
}

// Scores (keys, width) become probabilities, and the gradients of these, of the same shape, those of the scores.
inline void softmax_gradient_of_block(const Attention& a, const Block& block, const float* bias, const float* norms,
                                      float* scores, float* grads) {
    for (int64_t lane = 0; lane < block.width; lane += LANES) {
        const vector norm = load_vector(norms + lane);
        vector product = {};
        for (int64_t j = 0; j < block.seen; ++j) {
            const vector weight = exponential(block.score(a, scores, bias, j, lane) - norm);
            store_vector(scores + j * block.width + lane, weight);
            product += weight * load_vector(grads + j * block.width + lane);
        }
        for (int64_t j = 0; j < block.seen; ++j) {
            float* grad = grads + j * block.width + lane;
            store_vector(grad, load_vector(scores + j * block.width + lane) * (load_vector(grad) - product));
        }
    }
}

// The gradients of queries, keys and values, each in rows like theirs, from that of the output.
template <class T, int64_t DIM>
void attend_heads_gradient(const Attention& a, const T* queries, const T* keys, const T* values,
                           const int64_t* query_bounds, const int64_t* key_bounds, const float* bias,
                           const float* norms, const T* output_grad, T* query_grad, T* key_grad, T* value_grad) {
    const int64_t dim = DIM > 0 ? DIM : a.dim, num_heads = a.num_heads;
#pragma omp parallel
    {
        Memory q_memory, q_columns_memory, k_memory, v_memory, scores_memory, grads_memory;
        Memory out_memory, out_columns_memory, q_grad_memory, k_grad_memory, v_grad_memory;
        float block_norms[BLOCK];
#pragma omp for schedule(static)
        for (int64_t task = 0; task < a.num_sequences * num_heads; ++task) {
            const auto [number, offset, first_query, num_queries, first_key, num_keys] =
                head_of(task, num_heads, dim, query_bounds, key_bounds);
            if (task + 1 < a.num_sequences * num_heads) {
                const Head next = head_of(task + 1, num_heads, dim, query_bounds, key_bounds);
                fetch_head(a, next, queries, keys, values);
                fetch(output_grad + next.first_query * num_heads * dim + next.offset, num_heads * dim, dim,
                      next.num_queries);
            }
            const int64_t key_start = first_key * a.key_stride + offset;
            const float* key_bias = bias == nullptr ? nullptr : bias + first_key;
            float* k = k_memory.sized(num_keys * dim);
            float* v = v_memory.sized(num_keys * dim);
            float* k_grad = k_grad_memory.zeros(num_keys * dim);
            float* v_grad = v_grad_memory.zeros(num_keys * dim);
            gather<T, DIM>(keys + key_start, a.key_stride, num_keys, dim, 1.0f, k);
            gather<T, DIM>(values + key_start, a.key_stride, num_keys, dim, 1.0f, v);
            for (int64_t first = 0; first < num_queries; first += BLOCK) {
                const Block block(a, first, num_queries, num_keys);
                const int64_t row = first_query + first, size = block.count * dim;
                float* q = q_memory.sized(size);
                float* q_columns = q_columns_memory.sized(block.width * dim);
                float* out = out_memory.sized(size);
                float* out_columns = out_columns_memory.sized(block.width * dim);
                float* weights = scores_memory.sized(block.seen * block.width);
                float* grads = grads_memory.sized(block.seen * block.width);
                float* q_grad = q_grad_memory.zeros(size);
                gather<T, DIM>(queries + row * a.query_stride + offset, a.query_stride, block.count, dim,
                               float(a.scale), q);
                gather<T, DIM>(output_grad + row * num_heads * dim + offset, num_heads * dim, block.count, dim, 1.0f,
                               out);
                transpose<DIM>(q, block.count, dim, block.width, q_columns);
                transpose<DIM>(out, block.count, dim, block.width, out_columns);
                for (int64_t i = 0; i < BLOCK; ++i)
                    block_norms[i] = i < block.count ? norms[(row + i) * num_heads + number] : 0.0f;
                score<DIM>(k, q_columns, dim, block.seen, block.width, weights);
                score<DIM>(v, out_columns, dim, block.seen, block.width, grads);
                softmax_gradient_of_block(a, block, key_bias, block_norms, weights, grads);
                add_product<DIM>({grads, 1, block.width}, k, dim, block.count, block.seen, q_grad);
                add_product<DIM>({grads, block.width, 1}, q, dim, block.seen, block.count, k_grad);  // q is scaled
                add_product<DIM>({weights, block.width, 1}, out, dim, block.seen, block.count, v_grad);
                scatter<T, DIM>(q_grad, block.count, dim, float(a.scale), a.query_stride,
                                query_grad + row * a.query_stride + offset);
            }
            scatter<T, DIM>(k_grad, num_keys, dim, 1.0f, a.key_stride, key_grad + key_start);
            scatter<T, DIM>(v_grad, num_keys, dim, 1.0f, a.key_stride, value_grad + key_start);
        }
    }
}

}  // namespace
}  // namespace seqtrain

// ---- What Python calls --------------------------------------------------------------------------------------------

using namespace seqtrain;

#define FOR_DIM(CALL, ...)                        \
    switch (a->dim) {                             \
        case 16: CALL<T, 16>(__VA_ARGS__); break; \
        case 32: CALL<T, 32>(__VA_ARGS__); break; \
        case 64: CALL<T, 64>(__VA_ARGS__); break; \
        default: CALL<T, 0>(__VA_ARGS__);         \
    }

namespace {

template <class T>
void attend_any(const Attention* a, const T* q, const T* k, const T* v, const int64_t* query_bounds,
                const int64_t* key_bounds, const float* bias, T* output, float* norms) {
    FOR_DIM(attend_heads, *a, q, k, v, query_bounds, key_bounds, bias, output, norms)
}

template <class T>
void attend_any_gradient(const Attention* a, const T* q, const T* k, const T* v, const int64_t* query_bounds,
                         const int64_t* key_bounds, const float* bias, const float* norms, const T* output_grad,
                         T* query_grad, T* key_grad, T* value_grad) {
    FOR_DIM(attend_heads_gradient, *a, q, k, v, query_bounds, key_bounds, bias, norms, output_grad, query_grad,
            key_grad, value_grad)
}

}  // namespace

#define DEFINE(T)                                                                                                     \
    void softmax_gradient_##T(const Loss* loss, T* logits, const int64_t* targets, float* norms,                      \
                              float* target_logits) {                                                                 \
        softmax_gradient(*loss, logits, targets, norms, target_logits);                                               \
    }                                                                                                                 \
    void residual_norm_##T(const ResidualNorm* norm, const float* x, const T* output, const int16_t* bits,            \
                           const float* gain, const float* bias, float* s, float* y, T* rounded, float* statistics) { \
        residual_norm(*norm, x, output, bits, gain, bias, s, y, rounded, statistics);                                 \
    }                                                                                                                 \
    void residual_norm_gradient_##T(const ResidualNorm* norm, const float* y_grad, const T* rounded_grad,             \
                                    const float* s, const float* statistics, const int16_t* bits, const float* gain,  \
                                    float* x_grad, T* output_grad, float* gain_grad, float* bias_grad,                \
                                    float* shares) {                                                                  \
        residual_norm_gradient(*norm, y_grad, rounded_grad, s, statistics, bits, gain, x_grad, output_grad,           \
                               gain_grad, bias_grad, shares);                                                         \
    }                                                                                                                 \
    void linear_gradient_##T(const Linear* linear, const T* grad, const T* output, T* passed, float* sums,            \
                             float* shares) {                                                                         \
        linear_gradient<T>(*linear, {grad, output, passed, shares}, sums);                                            \
    }                                                                                                                 \
    void attend_##T(const Attention* a, const T* q, const T* k, const T* v, const int64_t* query_bounds,              \
                    const int64_t* key_bounds, const float* bias, T* output, float* norms) {                          \
        attend_any(a, q, k, v, query_bounds, key_bounds, bias, output, norms);                                        \
    }                                                                                                                 \
    void attend_gradient_##T(const Attention* a, const T* q, const T* k, const T* v, const int64_t* query_bounds,     \
                             const int64_t* key_bounds, const float* bias, const float* norms, const T* output_grad,  \
                             T* query_grad, T* key_grad, T* value_grad) {                                             \
        attend_any_gradient(a, q, k, v, query_bounds, key_bounds, bias, norms, output_grad, query_grad, key_grad,     \
                            value_grad);                                                                              \
    }                                                                                                                 \
    void pack_##T(const Product* product, const T* matrix, bfloat16* panels) { pack(*product, matrix, panels); }      \
    void pack_transpose_##T(const Product* product, const T* matrix, bfloat16* panels) {                              \
        pack_transpose(*product, matrix, panels);                                                                     \
    }                                                                                                                 \
    void multiply_##T(const Product* product, const T* rows, const bfloat16* panels, const float* bias,               \
                      bfloat16* rounded, bfloat16* out) {                                                             \
        multiply(*product, rows, panels, bias, rounded, out);                                                         \
    }                                                                                                                 \
    void multiply_to_##T(const Product* product, const bfloat16* rows, const bfloat16* panels, T* out) {              \
        multiply(*product, rows, panels, nullptr, nullptr, out);                                                      \
    }                                                                                                                 \
    void linear_input_gradient_##T(const Product* product, const bfloat16* grad, const bfloat16* output,              \
                                   bfloat16* passed, const bfloat16* panels, float* sums, float* shares, T* out) {    \
        linear_input_gradient(*product, {grad, output, passed, shares}, panels, sums, out);                           \
    }

extern "C" {
DEFINE(float)
DEFINE(bfloat16)

// Whether products.h is the fastest way to multiply bf16 here: with AMX it is not.
int multiplies_pairs() {
#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)
    return 1;
#else
    return 0;
#endif
}

void draw_random_bits(uint64_t seed, int64_t num_draws, uint64_t* bits) { draw_bits(seed, num_draws, bits); }

void multiply_columns(const ColumnProduct* product, const bfloat16* left, const bfloat16* right, float* out,
                      bfloat16* right_panels) {
    seqtrain::multiply_columns(*product, left, right, out, right_panels);
}
}
