// One declaration makes an option available on the command line, in the TOML file and in the environment.
#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace qwend::cli {

// --max-seqs N, `max-seqs = N` in the file named by --config, QWEND_MAX_SEQS=N. The command line wins over
// the environment, the environment over the file, the file over the default.
class OptionTable {
 public:
  OptionTable(const std::string& command, const std::string& description);

  template <class T>
  CLI::Option* add(const std::string& name, T& target, const std::string& help) {
    return remember(name, app_.add_option("--" + name, target, help)->capture_default_str());
  }
  CLI::Option* add_flag(const std::string& name, bool& target, const std::string& help);
  CLI::App& app() { return app_; }

  // args are the words after the command. False when help was asked for, and has been printed. Throws
  // CLI::ParseError.
  [[nodiscard]] bool parse(const std::vector<std::string>& args);

 private:
  CLI::Option* remember(const std::string& name, CLI::Option* option);
  CLI::App app_;
  std::vector<std::string> names_;
};

// QWEND_MAX_SEQS for "max-seqs".
std::string environment_name(const std::string& option);

}  // namespace qwend::cli
