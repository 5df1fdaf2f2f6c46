// top_k, typical_p, top_p, min_p, XTC. No sort of the vocabulary: candidates are found by a scan with a
// threshold and divided only where a filter cuts.
#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "kernels/cpu/sampler.h"
#include "kernels/cpu/vector_ops.h"

namespace qwend::cpu {

namespace {

bool heavier(const Candidate& a, const Candidate& b) {
  return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
}

double total_weight(const std::vector<Candidate>& list) {
  double total = 0.0;
  for (const Candidate& c : list) total += static_cast<double>(c.weight);
  return total;
}

// Keeps the shortest prefix, in `before` order, that holds at least `wanted` weight; the order of what is
// kept is not said. Looks at growing portions, then halves the one that the prefix ends in: no sort.
template <class T, class Before, class Weight>
void keep_prefix(std::vector<T>& list, double wanted, Before before, Weight weight) {
  using Place = typename std::vector<T>::iterator;
  const auto sum_of = [&](Place from, Place to) {
    double sum = 0.0;
    for (; from != to; ++from) sum += static_cast<double>(weight(*from));
    return sum;
  };
  double sum = 0.0;  // of what lies before `first`, all of which is kept
  auto first = list.begin(), last = list.end();
  while (first != last) {
    const auto kept = first - list.begin();
    const auto end = list.begin() + std::min(last - list.begin(), std::max<std::ptrdiff_t>(256, kept * 8));
    if (end != last) std::nth_element(first, end, last, before);
    const double portion = sum_of(first, end);
    if (sum + portion >= wanted) {
      last = end;
      break;
    }
    sum += portion;
    first = end;
  }
  while (last - first > 1) {
    const auto middle = first + (last - first) / 2;
    std::nth_element(first, middle, last, before);
    const double half = sum_of(first, middle);
    if (sum + half >= wanted) {
      last = middle;
    } else {
      sum += half;
      first = middle;
    }
  }
  list.resize(static_cast<size_t>(last - list.begin()));
}

}  // namespace

void Sampler::filter(const SamplingRow& row) {
  const float scale = 1.0f / row.temperature;
  const float top = vector_ops().max(scores_.data(), vocab_);
  const bool xtc = excludes_top_choices(row);
  bool nucleus = row.top_p < 1.0f;  // still to be applied
  listed_ = true;
  if (row.top_k > 0 && row.top_k < vocab_) {
    select_largest(row.top_k, candidates_);
    for (Candidate& c : candidates_) {
      vector_ops().exp_sum(&scores_[static_cast<size_t>(c.token)], top, scale, 1, &c.weight);
    }
  } else {
    const double total = vector_ops().exp_sum(scores_.data(), top, scale, vocab_, weights_.data());
    if (row.typical_p >= 1.0f && row.top_p >= 1.0f && !xtc) {
      // The largest weight is e^0 = 1, so min_p is the least weight kept.
      if (row.min_p > 0.0f) {
        for (float& w : weights_) w = w >= row.min_p ? w : 0.0f;
      }
      listed_ = false;
      return;
    }
    // top_p alone: weights below (1 - top_p) / V of the total add up to less than 1 - top_p of it, so the
    // nucleus never needs one of them.
    const double rest = 1.0 - static_cast<double>(row.top_p);
    const double floor = row.typical_p < 1.0f ? 0.0 : rest * total / static_cast<double>(vocab_);
    candidates_.clear();
    for (int64_t t = 0; t < vocab_; ++t) {
      const float weight = weights_[static_cast<size_t>(t)];
      if (weight > 0.0f && static_cast<double>(weight) >= floor) {
        candidates_.push_back({static_cast<int32_t>(t), weight});
      }
    }
    if (row.typical_p >= 1.0f && nucleus) {
      keep_prefix(candidates_, static_cast<double>(row.top_p) * total, heavier,
                  [](const Candidate& c) { return c.weight; });
      nucleus = false;
    }
  }
  if (row.typical_p < 1.0f) keep_typical(static_cast<double>(row.typical_p));
  if (nucleus) keep_nucleus(static_cast<double>(row.top_p));
  if (row.min_p > 0.0f) keep_above(static_cast<double>(row.min_p));
  if (xtc) exclude_top_choices(static_cast<double>(top_choice_share(row)));
}

// The `count` largest scores above -inf, largest first, lowest id on a tie; weight is the score.
//
// The vocabulary is cut into spans. `count` spans have a maximum of at least the count-th largest maximum, so
// there are `count` scores of at least that, and nothing below it is looked at again: of 4,096 scores some 30
// remain for 20.
void Sampler::select_largest(int32_t count, std::vector<Candidate>& out) {
  out.clear();
  if (count <= 0) return;
  constexpr int64_t kSpan = 64;  // bits of at_least()
  const auto wanted = static_cast<size_t>(std::min<int64_t>(count, vocab_));
  span_maxima_.clear();
  for (int64_t begin = 0; begin < vocab_; begin += kSpan) {
    span_maxima_.push_back(vector_ops().max(scores_.data() + begin, std::min(kSpan, vocab_ - begin)));
  }
  float least = std::numeric_limits<float>::lowest();
  if (wanted <= span_maxima_.size()) {
    sorted_maxima_ = span_maxima_;
    const auto last = sorted_maxima_.begin() + static_cast<std::ptrdiff_t>(wanted - 1);
    std::nth_element(sorted_maxima_.begin(), last, sorted_maxima_.end(), std::greater<>());
    least = std::max(least, *last);
  }
  const size_t capacity = 2 * wanted + 256;
  for (size_t span = 0; span < span_maxima_.size(); ++span) {
    if (span_maxima_[span] < least) continue;
    const int64_t begin = static_cast<int64_t>(span) * kSpan;
    const float* scores = scores_.data() + begin;
    for (uint64_t found = vector_ops().at_least(scores, least, std::min(kSpan, vocab_ - begin)); found != 0;
         found &= found - 1) {
      const int i = std::countr_zero(found);
      out.push_back({static_cast<int32_t>(begin + i), scores[i]});
    }
    if (out.size() < capacity) continue;
    std::nth_element(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(wanted - 1), out.end(), heavier);
    out.resize(wanted);
    // A later token with the last one's score loses to it.
    least = std::nextafter(out.back().weight, std::numeric_limits<float>::infinity());
  }
  const size_t kept = std::min(wanted, out.size());
  std::partial_sort(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(kept), out.end(), heavier);
  out.resize(kept);
}

// Locally typical sampling (Meister et al., 2023): tokens whose information is closest to the entropy.
void Sampler::keep_typical(double share) {
  struct Typical {
    Candidate candidate;
    double deviation;
  };
  const double total = total_weight(candidates_);
  auto information = [&](const Candidate& c) {
    return std::log(total) - std::log(static_cast<double>(c.weight));
  };
  double entropy = 0.0;
  for (const Candidate& c : candidates_) {
    if (c.weight > 0.0f) entropy += static_cast<double>(c.weight) / total * information(c);
  }
  std::vector<Typical> list;
  list.reserve(candidates_.size());
  for (const Candidate& c : candidates_) {
    if (c.weight > 0.0f) list.push_back({c, std::abs(information(c) - entropy)});
  }
  auto closer = [](const Typical& a, const Typical& b) {
    return a.deviation != b.deviation ? a.deviation < b.deviation : heavier(a.candidate, b.candidate);
  };
  keep_prefix(list, share * total, closer, [](const Typical& t) { return t.candidate.weight; });
  candidates_.clear();
  for (const Typical& t : list) candidates_.push_back(t.candidate);
}

void Sampler::keep_nucleus(double share) {
  keep_prefix(candidates_, share * total_weight(candidates_), heavier,
              [](const Candidate& c) { return c.weight; });
}

void Sampler::keep_above(double share_of_largest) {
  float largest = 0.0f;
  for (const Candidate& c : candidates_) largest = std::max(largest, c.weight);
  const double least = share_of_largest * static_cast<double>(largest);
  std::erase_if(candidates_, [&](const Candidate& c) { return static_cast<double>(c.weight) < least; });
}

void Sampler::exclude_top_choices(double threshold) {
  const double least = threshold * total_weight(candidates_);
  const auto is_top = [&](const Candidate& c) {
    return c.weight > 0.0f && static_cast<double>(c.weight) >= least;
  };
  const Candidate* last = nullptr;  // the least likely of them
  for (const Candidate& c : candidates_) {
    if (is_top(c) && (last == nullptr || heavier(*last, c))) last = &c;
  }
  if (last == nullptr) return;
  const int32_t kept = last->token;
  std::erase_if(candidates_, [&](const Candidate& c) { return is_top(c) && c.token != kept; });
}

}  // namespace qwend::cpu
