#include "engine/model/qwen_model.h"
#include "engine/run/step_executor.h"
#include "kernels/check.h"

namespace qwend {

namespace {

// The StepExecutor of the real engine. Members are destroyed in the reverse of this order: the model
// before the backend that it refers to.
class ModelRunner final : public StepExecutor {
 public:
  ModelRunner(std::unique_ptr<Backend> backend, std::unique_ptr<QwenModel> model, KvCachePtr kv)
      : backend_(std::move(backend)), model_(std::move(model)), kv_(std::move(kv)) {
    CHECK(backend_ != nullptr && model_ != nullptr && kv_ != nullptr);
  }
  int32_t vocab_size() const override { return model_->config().vocab; }
  int32_t max_in_flight() const override { return backend_->max_in_flight(); }
  bool copies_blocks() const override { return backend_->copies_blocks(); }
  void launch(const StepInput& input, std::span<const SamplingRow> rows) override {
    model_->forward(input, *kv_);
    backend_->launch_sample(rows);
  }
  std::vector<SampledToken> collect() override { return backend_->collect(); }
  std::vector<float> hidden(int32_t t) override { return model_->hidden(t); }

 private:
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<QwenModel> model_;
  KvCachePtr kv_;
};

}  // namespace

std::unique_ptr<StepExecutor> make_model_runner(std::unique_ptr<Backend> backend,
                                                std::unique_ptr<QwenModel> model, KvCachePtr kv) {
  return std::make_unique<ModelRunner>(std::move(backend), std::move(model), std::move(kv));
}

}  // namespace qwend
