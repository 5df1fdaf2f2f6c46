// Staging, launches and results of DeviceSampler.
#include <array>
#include <exception>

#include "kernels/check.h"
#include "kernels/cuda/sampler.h"
#include "kernels/cuda/sampler_kernels.h"
#include "kernels/cuda/sampler_staging.h"

namespace qwend::cuda {

namespace {

// One of the steps in flight: what went to the device for it, and what comes back. Free for the next step
// once it has been collected, so nothing here is written while the device uses it.
struct StepSlot {
  PinnedBuffer<std::byte> staging;
  DeviceBuffer<std::byte> arena;
  PinnedBuffer<DrawnRow> results;  // written by the draw kernel itself, across the bus
  PinnedBuffer<TokenLogprob> tops;
  Event copied = make_event(), done = make_event();
  size_t num_rows = 0;

  // More than what reserve() took: a step with very long lists. Freeing waits for the device.
  void make_room(const StepStaging& step) {
    if (step.upload_bytes() > staging.size()) staging = PinnedBuffer<std::byte>(step.upload_bytes() * 3 / 2);
    if (step.device_bytes() > arena.size()) arena = DeviceBuffer<std::byte>(step.device_bytes() * 3 / 2);
    if (step.num_tops() > tops.size()) tops = PinnedBuffer<TokenLogprob>(step.num_tops() * 3 / 2);
  }
};

}  // namespace

struct DeviceSampler::Impl {
  explicit Impl(int32_t rows)
      : max_rows(static_cast<size_t>(rows)),
        drawn(DeviceBuffer<int32_t>::zeroed(max_rows)),
        drawn_of_steps(DeviceBuffer<int32_t>::zeroed(kMaxInFlight * max_rows)),
        arrivals(DeviceBuffer<uint32_t>::zeroed(max_rows)) {}

  const size_t max_rows;
  int64_t vocab = 0;                            // of reserve()
  DeviceBuffer<int32_t> drawn, drawn_of_steps;  // [max_rows], [kMaxInFlight, max_rows]
  DeviceBuffer<uint32_t> arrivals;
  // [max_rows, groups]: SamplerMemory; edits also for each row, a bitmap and its ranks
  DeviceBuffer<uint32_t> keys, raw_keys, edit_bits;
  DeviceBuffer<float> sums, raw_sums;
  DeviceBuffer<int32_t> edit_ranks;
  DeviceBuffer<unsigned char> scratch;
  // Lists travel beside the step's other work, which is still running when launch() is called.
  Stream copies = make_stream();
  std::array<StepSlot, kMaxInFlight> slots;
  size_t launched = 0, collected = 0;  // steps; step n uses slot n % kMaxInFlight

  // Of the step launched last.
  SamplerMemory memory() const {
    const auto draws = [&](size_t step) { return drawn_of_steps.data() + step % kMaxInFlight * max_rows; };
    return {keys.data(),    sums.data(),  raw_keys.data(), raw_sums.data(),    arrivals.data(),
            scratch.data(), drawn.data(), draws(launched), draws(launched - 1)};
  }
};

DeviceSampler::DeviceSampler(int32_t max_rows) : impl_(std::make_unique<Impl>(max_rows)) {}

DeviceSampler::~DeviceSampler() {
  for (StepSlot& slot : impl_->slots)
    cudaEventSynchronize(slot.done.get());  // an error ends the process anyway
}

void DeviceSampler::reserve(int64_t vocab) {
  Impl& impl = *impl_;
  CHECK(impl.launched == impl.collected && vocab > 0 && vocab <= kMaxVocab);
  if (vocab <= impl.vocab) return;
  impl.vocab = vocab;
  const auto groups = static_cast<size_t>((vocab + kGroup - 1) / kGroup);
  const size_t figures = impl.max_rows * groups, bitmap_bytes = groups * kGroupWords * sizeof(uint32_t);
  impl.keys = DeviceBuffer<uint32_t>(figures);
  impl.raw_keys = DeviceBuffer<uint32_t>(figures);
  impl.sums = DeviceBuffer<float>(figures);
  impl.raw_sums = DeviceBuffer<float>(figures);
  impl.edit_bits = DeviceBuffer<uint32_t>(figures * kGroupWords);
  impl.edit_ranks = DeviceBuffer<int32_t>(figures);
  impl.scratch =
      DeviceBuffer<unsigned char>(impl.max_rows * SamplerMemory::scratch_bytes(static_cast<int32_t>(groups)));
  // A row of 151,936: a mask of its own, 1,024 tokens of history, the 20 largest logits.
  const size_t row_bytes = sizeof(DeviceRow) + bitmap_bytes + 1024 * sizeof(int32_t);
  for (StepSlot& slot : impl.slots) {
    slot.staging = PinnedBuffer<std::byte>(impl.max_rows * row_bytes);
    slot.arena = DeviceBuffer<std::byte>(impl.max_rows * (row_bytes + 1024 * 2 * sizeof(float)));
    slot.results = PinnedBuffer<DrawnRow>(impl.max_rows);
    slot.tops = PinnedBuffer<TokenLogprob>(impl.max_rows * 20);
  }
  prepare_sampler_kernels(vocab);
}

void DeviceSampler::launch(const float* logits, int64_t vocab, std::span<const SamplingRow> rows,
                           cudaStream_t stream) {
  Impl& impl = *impl_;
  CHECK(impl.launched - impl.collected < kMaxInFlight);
  CHECK(rows.size() <= impl.max_rows && vocab <= impl.vocab);
  StepSlot& slot = impl.slots[impl.launched++ % kMaxInFlight];
  slot.num_rows = rows.size();
  if (rows.empty()) return;

  StepStaging step(vocab);
  step.plan(rows);
  slot.make_room(step);
  step.write(rows, slot.staging.data(), slot.arena.data(), impl.edit_bits.data(), impl.edit_ranks.data());
  CUDA_CHECK(cudaMemcpyAsync(slot.arena.data(), slot.staging.data(), step.upload_bytes(),
                             cudaMemcpyHostToDevice, impl.copies.get()));
  CUDA_CHECK(cudaEventRecord(slot.copied.get(), impl.copies.get()));
  CUDA_CHECK(cudaStreamWaitEvent(stream, slot.copied.get()));

  const auto* device_rows = reinterpret_cast<const DeviceRow*>(slot.arena.data());
  const auto* edited = reinterpret_cast<const int32_t*>(slot.arena.data() + step.edited_offset());
  const auto* wide = reinterpret_cast<const int32_t*>(slot.arena.data() + step.wide_offset());
  const auto num_rows = static_cast<int32_t>(rows.size());
  const SamplerMemory memory = impl.memory();
  if (step.num_edited() > 0) {
    edit_scores(device_rows, edited, step.num_edited(), logits, vocab, memory, stream);
  }
  look_at_rows(device_rows, num_rows, logits, vocab, memory, slot.results.data(), stream);
  if (step.num_wide() > 0) {
    draw_rows(device_rows, wide, step.num_wide(), logits, vocab, memory, slot.results.data(),
              slot.tops.data(), stream);
  }
  CUDA_CHECK(cudaEventRecord(slot.done.get(), stream));
}

std::vector<SampledToken> DeviceSampler::collect() {
  Impl& impl = *impl_;
  CHECK(impl.collected < impl.launched);
  const StepSlot& slot = impl.slots[impl.collected++ % kMaxInFlight];
  std::vector<SampledToken> tokens;
  if (slot.num_rows == 0) return tokens;
  CUDA_CHECK(cudaEventSynchronize(slot.done.get()));
  const auto* rows = reinterpret_cast<const DeviceRow*>(slot.staging.data());
  tokens.reserve(slot.num_rows);
  for (size_t i = 0; i < slot.num_rows; ++i) {
    tokens.push_back(sampled_token(rows[i], slot.results[i], slot.tops.data()));
  }
  return tokens;
}

const int32_t* DeviceSampler::drawn() const { return impl_->drawn.data(); }

}  // namespace qwend::cuda
