// How the attention of one step is cut into tasks for the threads.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/attention.h"
#include "kernels/cpu/buffer.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/thread_pool.h"

namespace qwend::cpu {

// Made once a step, run once a layer. Engine thread only.
class AttentionPlan {
 public:
  // One task a (sequence, KV head, up to kAttentionRows query rows), the longest first.
  void build(const StepInput& input, const AttentionShape& shape);
  bool built() const { return built_; }
  void clear() { built_ = false; }
  // q, out: [T, H * hd]. input: the one given to build().
  void run(const StepInput& input, int32_t layer, const float* q, const CpuKvCache& kv, float* out,
           ThreadPool& pool);

 private:
  struct Item {
    int32_t sequence, kv_head, row_begin, row_end;
    int64_t cost;  // query rows x keys
  };
  AttentionTask task(const Item& item, const StepInput& input, int32_t layer, const float* q,
                     const CpuKvCache& kv, float* out) const;

  AttentionShape shape_;
  bool built_ = false;
  std::vector<Item> items_;
  std::vector<FloatBuffer> scratch_;  // one a worker
};

}  // namespace qwend::cpu
