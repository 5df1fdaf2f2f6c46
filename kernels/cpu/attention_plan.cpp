#include "kernels/cpu/attention_plan.h"

#include <algorithm>
#include <atomic>
#include <cmath>

namespace qwend::cpu {

void AttentionPlan::build(const StepInput& input, const AttentionShape& shape) {
  shape_ = shape;
  built_ = true;
  items_.clear();
  const int32_t group = shape.num_heads / shape.num_kv_heads;
  for (int32_t s = 0; s < input.num_seqs(); ++s) {
    const size_t at = static_cast<size_t>(s);
    const int32_t rows = (input.cu_seqlens[at + 1] - input.cu_seqlens[at]) * group;
    // Tasks of equal size: 50 rows run as 25 + 25.
    const int32_t tasks = (rows + kAttentionRows - 1) / kAttentionRows;
    for (int32_t i = 0; i < tasks; ++i) {
      const auto edge = [&](int32_t t) { return static_cast<int32_t>(int64_t{rows} * t / tasks); };
      const int32_t last_token = input.cu_seqlens[at] + (edge(i + 1) - 1) / group;
      const int64_t keys = input.positions[static_cast<size_t>(last_token)] + 1;
      for (int32_t head = 0; head < shape.num_kv_heads; ++head) {
        items_.push_back({s, head, edge(i), edge(i + 1), keys * (edge(i + 1) - edge(i))});
      }
    }
  }
  std::stable_sort(items_.begin(), items_.end(),
                   [](const Item& a, const Item& b) { return a.cost > b.cost; });
}

AttentionTask AttentionPlan::task(const Item& item, const StepInput& input, int32_t layer, const float* q,
                                  const CpuKvCache& kv, float* out) const {
  const size_t first = static_cast<size_t>(input.cu_seqlens[static_cast<size_t>(item.sequence)]);
  AttentionTask task;
  task.group = shape_.num_heads / shape_.num_kv_heads;
  task.token_stride = int64_t{shape_.num_heads} * shape_.head_dim;
  const int64_t offset =
      static_cast<int64_t>(first) * task.token_stride + int64_t{item.kv_head} * task.group * shape_.head_dim;
  task.q = q + offset;
  task.out = out + offset;
  task.row_begin = item.row_begin;
  task.row_end = item.row_end;
  task.first_position = input.positions[first];
  task.block_table = input.block_tables.data() + int64_t{item.sequence} * input.block_table_stride;
  task.kv = kv.head(layer, item.kv_head);
  task.scale = 1.0f / std::sqrt(static_cast<float>(shape_.head_dim));
  return task;
}

void AttentionPlan::run(const StepInput& input, int32_t layer, const float* q, const CpuKvCache& kv,
                        float* out, ThreadPool& pool) {
  scratch_.resize(static_cast<size_t>(pool.size()));
  std::atomic<size_t> next{0};
  const AttendFn attend_task = attend();
  // A worker claims its next task before it runs the current one, which asks for the next one's keys and
  // values on its way; but it leaves the others one each.
  const bool ahead = items_.size() > static_cast<size_t>(pool.size());
  const auto work = [&](int worker) {
    FloatBuffer& scratch = scratch_[static_cast<size_t>(worker)];
    scratch.reserve(attention_scratch_floats(shape_.head_dim));
    const auto claim = [&](AttentionTask& claimed) {
      const size_t i = next.fetch_add(1, std::memory_order_relaxed);
      if (i >= items_.size()) return false;
      claimed = task(items_[i], input, layer, q, kv, out);
      return true;
    };
    AttentionTask current, following;
    for (bool more = claim(current); more; current = following) {
      if (ahead && (more = claim(following))) current.next = &following;
      attend_task(current, scratch.data());
      if (!ahead) more = claim(following);
    }
  };
  if (items_.size() == 1)
    work(0);
  else
    pool.run(work);
}

}  // namespace qwend::cpu
