// Kernels of a decoding step on a CPU, for one thread. Compiled for the machine at hand; see build.py. Python says what the
// arguments are: see decoding_kernels.py.
//
// Loops are written so that a compiler turns them into vector instructions.

#include <algorithm>
#include <vector>

#include "numbers.h"

using namespace seqtrain;

namespace {

constexpr int64_t BLOCK_SIZE = 64;

inline float greatest_of(const float* x, int64_t size) {
    float greatest = x[0];
    for (int64_t i = 0; i < size; ++i) greatest = x[i] > greatest ? x[i] : greatest;
    return greatest;
}

// The k greatest seen so far, greatest first.
class Greatest {
public:
    Greatest(float* values, int64_t* indices, int64_t k) : values_(values), indices_(indices), k_(k) {}

    void see(float value, int64_t index) {
        if (count_ == k_ && !(value > values_[k_ - 1])) return;
        int64_t place = count_ < k_ ? count_++ : k_ - 1;
        for (; place > 0 && value > values_[place - 1]; --place) {
            values_[place] = values_[place - 1];
            indices_[place] = indices_[place - 1];
        }
        values_[place] = value;
        indices_[place] = index;
    }

    int64_t count() const { return count_; }

private:
    float* values_;
    int64_t* indices_;
    int64_t k_;
    int64_t count_ = 0;
};

struct Attention {
    int64_t num_rows;           // N
    int64_t rows_of_sentence;   // K, or 1
    int64_t num_heads;          // H
    int64_t dim;                // d
    int64_t query_stride;       // from one query to the next
    int64_t slots_of_sentence;  // C
    int64_t num_read;           // slots that each row reads, the stride of `read` too; 0: see `counts`
};

template <int64_t DIM, typename S>
inline float dot(const float* a, const S* b, int64_t dim) {
    const int64_t size = DIM > 0 ? DIM : dim;
    float sum = 0;
    for (int64_t i = 0; i < size; ++i) sum += a[i] * load(b[i]);
    return sum;
}

// Softmax of each head's scores (H, n), in place.
inline void normalize(float* scores, int64_t num_heads, int64_t n) {
    for (int64_t h = 0; h < num_heads; ++h) {
        float* head = scores + h * n;
        const float greatest = greatest_of(head, n);
        float sum = 0;
        for (int64_t i = 0; i < n; ++i) {
            head[i] = exponential(head[i] - greatest);
            sum += head[i];
        }
        const float scale = 1 / sum;
        for (int64_t i = 0; i < n; ++i) head[i] *= scale;
    }
}

template <typename T, typename S, int64_t DIM>
void attend_rows(const Attention& a, const T* queries, const S* slots, const int64_t* places, const int32_t* read,
                 const int64_t* counts, T* out) {
    const int64_t dim = DIM > 0 ? DIM : a.dim, width = a.num_heads * dim;
    std::vector<float> query(width), sum(width), scores;
    for (int64_t row = 0; row < a.num_rows; ++row) {
        const int64_t sentence = row / a.rows_of_sentence;
        const S* base = slots + places[sentence] * a.slots_of_sentence * 2 * width;
        const int32_t* chosen = read == nullptr ? nullptr : read + row * a.num_read;
        const int64_t n = read == nullptr ? counts[places[sentence]] : a.num_read;
        scores.resize(a.num_heads * n);
        for (int64_t i = 0; i < width; ++i) query[i] = load(queries[row * a.query_stride + i]);
        for (int64_t i = 0; i < n; ++i) {
            const S* key = base + (chosen == nullptr ? i : chosen[i]) * 2 * width;
            for (int64_t h = 0; h < a.num_heads; ++h)
                scores[h * n + i] = dot<DIM>(query.data() + h * dim, key + h * dim, dim);
        }
        normalize(scores.data(), a.num_heads, n);
        std::fill(sum.begin(), sum.end(), 0.0f);
        for (int64_t i = 0; i < n; ++i) {
            const S* value = base + (chosen == nullptr ? i : chosen[i]) * 2 * width + width;
            for (int64_t h = 0; h < a.num_heads; ++h) {
                const float weight = scores[h * n + i];
                for (int64_t j = 0; j < dim; ++j) sum[h * dim + j] += weight * load(value[h * dim + j]);
            }
        }
        for (int64_t i = 0; i < width; ++i) store(out + row * width + i, sum[i]);
    }
}

template <typename T, typename S>
void attend(const Attention* a, const T* queries, const S* slots, const int64_t* places, const int32_t* read,
            const int64_t* counts, T* out) {
    const auto function = a->dim == 32   ? attend_rows<T, S, 32>
                          : a->dim == 64 ? attend_rows<T, S, 64>
                                         : attend_rows<T, S, 0>;
    function(*a, queries, slots, places, read, counts, out);
}

// Rows (N, 3 D) of queries, keys and values: keys and values go into the slots that begin with `first`.
template <typename T>
void keep(const Attention* a, const T* rows, T* slots, const int64_t* places, int64_t first) {
    const int64_t width = a->num_heads * a->dim;
    for (int64_t row = 0; row < a->num_rows; ++row) {
        const int64_t sentence = row / a->rows_of_sentence;
        const int64_t slot = places[sentence] * a->slots_of_sentence + first + row % a->rows_of_sentence;
        const T* keys = rows + row * a->query_stride + width;
        std::copy(keys, keys + 2 * width, slots + slot * 2 * width);
    }
}

}  // namespace

extern "C" {

// The logarithms (R,) of the sums of exp of the rows of (R, V).
void log_normalizers(const float* scores, int64_t num_rows, int64_t num_columns, float* greatest, float* sums) {
    for (int64_t row = 0; row < num_rows; ++row) {
        const float* x = scores + row * num_columns;
        const float most = greatest_of(x, num_columns);
        float sum = 0;
        for (int64_t i = 0; i < num_columns; ++i) sum += exponential(x[i] - most);
        greatest[row] = most;
        sums[row] = sum;
    }
}

// The k greatest of each row of (R, V) and their indices, (R, k) each, greatest first. They lie in the k blocks whose
// maxima are greatest.
void top_k(const float* values, int64_t num_rows, int64_t num_columns, int64_t k, float* found, int64_t* indices) {
    const int64_t num_blocks = (num_columns + BLOCK_SIZE - 1) / BLOCK_SIZE;
    const int64_t num_chosen = std::min(k, num_blocks);
    std::vector<float> maxima(num_chosen);
    std::vector<int64_t> blocks(num_chosen);
    for (int64_t row = 0; row < num_rows; ++row) {
        const float* x = values + row * num_columns;
        Greatest chosen(maxima.data(), blocks.data(), num_chosen);
        for (int64_t block = 0; block < num_blocks; ++block) {
            const int64_t first = block * BLOCK_SIZE;
            const bool is_whole = first + BLOCK_SIZE <= num_columns;
            chosen.see(is_whole ? greatest_of(x + first, BLOCK_SIZE) : greatest_of(x + first, num_columns - first), block);
        }
        Greatest greatest(found + row * k, indices + row * k, k);
        for (const int64_t block : blocks)
            for (int64_t i = block * BLOCK_SIZE; i < std::min((block + 1) * BLOCK_SIZE, num_columns); ++i)
                greatest.see(x[i], i);
    }
}

#define DEFINE_ATTEND(T, S)                                                                                          \
    void attend_##T##_##S(const Attention* a, const T* queries, const S* slots, const int64_t* places,                \
                          const int32_t* read, const int64_t* counts, T* out) {                                       \
        attend(a, queries, slots, places, read, counts, out);                                                         \
    }

#define DEFINE_KEEP(T)                                                                                               \
    void keep_##T(const Attention* a, const T* rows, T* slots, const int64_t* places, int64_t first) {                \
        keep(a, rows, slots, places, first);                                                                          \
    }

DEFINE_ATTEND(float, float)
DEFINE_ATTEND(float, bfloat16)
DEFINE_ATTEND(bfloat16, float)
DEFINE_ATTEND(bfloat16, bfloat16)
DEFINE_KEEP(float)
DEFINE_KEEP(bfloat16)
}
