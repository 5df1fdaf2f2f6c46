// qwend: the command line. Each command is one function in server/cli; exit codes are those of sysexits.h.
#include <sysexits.h>
#include <unistd.h>

#include <iostream>
#include <iterator>

#include "server/cli/bench.h"
#include "server/cli/chat.h"
#include "server/cli/inspect.h"
#include "server/cli/options.h"
#include "server/cli/render.h"
#include "server/cli/serve.h"
#include "server/cli/tokenize.h"
#include "server/cli/verify.h"
#include "server/commit.h"
#include "server/embedded_model.h"
#include "server/version.h"

namespace qwend::cli {
namespace {

using Args = std::vector<std::string>;

int serve_command(const Args& args) {
  OptionTable table("serve", "Serve a model over the OpenAI HTTP API.");
  ServeOptions options;
  add_serve_options(table, options);
  if (!table.parse(args)) return EX_OK;
  return run_serve(options);
}

int chat_command(const Args& args) {
  OptionTable table("chat", "Talk to a model in the terminal.");
  ChatOptions options;
  add_chat_options(table, options);
  if (!table.parse(args)) return EX_OK;
  return run_chat(options);
}

int bench_command(const Args& args) {
  OptionTable table(
      "bench",
      "Measure prompt processing (pp) and generation (tg) without scheduling, and both together with it.");
  BenchOptions options;
  table.add("model", options.model, "GGUF file; without it the embedded demo model");
  add_device_option(table, options.device);
  table.add("threads", options.threads, "CPU threads, 0 for one a core")->check(CLI::Range(0, 1024));
  add_kv_dtype_option(table, options.kv_dtype);
  const auto list = [&](const std::string& name, std::vector<int>& target, const std::string& help) {
    // A list option keeps all its values; the environment then adds to nothing, so it is set on the command
    // line only.
    table.app().add_option(name, target, help)->delimiter(',')->capture_default_str();
  };
  list("-p,--prompt", options.prompt, "prompt lengths in tokens, e.g. 512,2048");
  list("-n,--generate", options.generate, "tokens to generate one by one, e.g. 128");
  list("-b,--batch", options.batch, "streams decoded together, e.g. 1,8,32");
  list("--mixed", options.mixed,
       "lengths of prompts that come, one by one, while the streams decode, e.g. 8192,32000");
  table.add("ctx", options.ctx, "tokens already in the context before generating")
      ->check(CLI::NonNegativeNumber);
  table.add("ubatch", options.ubatch, "tokens of a prompt computed in one step, 0 for what serve takes")
      ->check(CLI::Range(0, 65536));
  table.add("repetitions", options.repetitions, "timed repetitions after one warm-up")
      ->check(CLI::Range(1, 1000));
  table.add_flag("json", options.json, "print JSON");
  if (!table.parse(args)) return EX_OK;
  return run_bench(options);
}

int inspect_command(const Args& args) {
  OptionTable table("inspect", "Show a model file's metadata, tensors, formats and memory plan.");
  std::string model, kv_dtype = "auto";
  bool json = false;
  table.add("model", model, "GGUF file; without it the embedded demo model");
  add_kv_dtype_option(table, kv_dtype);
  table.add_flag("json", json, "print JSON");
  if (!table.parse(args)) return EX_OK;
  return run_inspect(open_model(model), json, std::cout, kv_dtype_of(kv_dtype));
}

// The words of a command, or standard input when there are none.
std::string text_or_stdin(const std::vector<std::string>& words) {
  if (words.empty()) return {std::istreambuf_iterator<char>(std::cin), {}};
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

int tokenize_command(const Args& args) {
  OptionTable table("tokenize", "Show the tokens of a text (the words given, or standard input).");
  std::string model;
  bool json = false, specials = false;
  std::vector<std::string> words;
  table.add("model", model, "GGUF file; without it the embedded demo model");
  table.add_flag("json", json, "print JSON");
  table.add_flag("special", specials, "let the text name control tokens such as <|im_end|>");
  table.app().add_option("text", words, "the text");
  if (!table.parse(args)) return EX_OK;
  const gguf::File file = open_model(model);
  return run_tokenize(Tokenizer(Vocabulary::from_gguf(file)), text_or_stdin(words), json, specials,
                      std::cout);
}

int render_command(const Args& args) {
  OptionTable table("render", "Show the prompt that the chat template makes of 'role: text' lines.");
  std::string model;
  bool no_thinking = false;
  std::vector<std::string> words;
  table.add("model", model, "GGUF file; without it the embedded demo model");
  table.add_flag("no-thinking", no_thinking, "as with enable_thinking: false");
  table.app().add_option("dialogue", words, "the dialogue; standard input when absent");
  if (!table.parse(args)) return EX_OK;
  const gguf::File file = open_model(model);
  const auto chat_template = ChatTemplate::recognise(file.find_string("tokenizer.chat_template").value_or(""),
                                                     file.get_string("general.architecture"));
  ChatTemplateOptions options;
  if (no_thinking) options.enable_thinking = false;
  return run_render(chat_template, text_or_stdin(words), options, isatty(STDOUT_FILENO) != 0, std::cout);
}

int verify_command(const Args& args) {
  OptionTable table("verify",
                    "Check a device against the FP32 reference, op by op; name the first difference.");
  VerifyOptions options;
  table.add("model", options.model, "GGUF file; without it the embedded demo model");
  add_device_option(table, options.device);
  table.add("threads", options.threads, "CPU threads, 0 for one a core")->check(CLI::Range(0, 1024));
  add_kv_dtype_option(table, options.kv_dtype);
  table.add("prompt", options.prompt, "text to run; without it some in several languages, and code");
  table.add_flag("full", options.full, "check every weight of models above 2 GB, not only a sample");
  table.add_flag("json", options.json, "print JSON");
  if (!table.parse(args)) return EX_OK;
  return run_verify(options, std::cout);
}

struct Command {
  const char* name;
  const char* help;
  int (*run)(const Args&);
};
constexpr Command kCommands[] = {
    {"serve", "serve a model over the OpenAI HTTP API", serve_command},
    {"chat", "talk to a model in the terminal", chat_command},
    {"bench", "measure the engine on this machine", bench_command},
    {"inspect", "show what is in a model file", inspect_command},
    {"verify", "check a device against the FP32 reference", verify_command},
    {"tokenize", "show the tokens of a text", tokenize_command},
    {"render", "show the prompt made from a dialogue", render_command},
};

void print_usage(std::ostream& out) {
  out << "qwend " << kVersion << ": an OpenAI-compatible inference server for Qwen models in GGUF files\n\n"
      << "usage: qwend COMMAND [OPTION]...\n\n";
  for (const Command& command : kCommands) {
    out << "  " << command.name << std::string(11 - std::string(command.name).size(), ' ') << command.help
        << "\n";
  }
  out << "\nWithout --model every command uses the small demo model inside this program, so\n"
         "  qwend chat\n"
         "works at once. `qwend COMMAND --help` shows a command's options; each can also be set in a TOML "
         "file\n"
         "(--config FILE) and as QWEND_... in the environment.\n";
}

// Runs one command and turns every failure into one line and an exit code.
int run(const Command& command, const Args& args) {
  try {
    return command.run(args);
  } catch (const CLI::ParseError& error) {
    std::cerr << "qwend " << command.name << ": " << error.what() << "\n(qwend " << command.name
              << " --help shows the options)\n";
    return EX_USAGE;
  } catch (const LoadError& error) {
    std::cerr << "qwend: " << error.what() << "\n";
    return EX_DATAERR;
  } catch (const DeviceError& error) {
    std::cerr << "qwend: " << error.what() << "\n";
    return EX_UNAVAILABLE;
  } catch (const std::bad_alloc&) {
    std::cerr << "qwend: out of memory\n";
    return EX_UNAVAILABLE;
  } catch (const std::exception& error) {
    std::cerr << "qwend: " << error.what() << "\n";
    return EX_SOFTWARE;
  }
}

}  // namespace
}  // namespace qwend::cli

int main(int argc, char** argv) {
  using namespace qwend::cli;
  const std::string name = argc > 1 ? argv[1] : "--help";
  if (name == "--version" || name == "version") {
    std::cout << "qwend " << qwend::kVersion << " (" << qwend::kCommit << ")\n";
    return EX_OK;
  }
  if (name == "--help" || name == "-h" || name == "help") {
    print_usage(std::cout);
    return EX_OK;
  }
  for (const Command& command : kCommands) {
    if (name == command.name) return run(command, Args(argv + 2, argv + argc));
  }
  std::cerr << "qwend: unknown command '" << name << "'\n\n";
  print_usage(std::cerr);
  return EX_USAGE;
}
