#include "server/cli/option_table.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <iostream>

namespace qwend::cli {

std::string environment_name(const std::string& option) {
  std::string name = "QWEND_" + option;
  for (char& c : name) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

OptionTable::OptionTable(const std::string& command, const std::string& description)
    : app_(description, "qwend " + command) {
  app_.set_config("--config", "", "TOML file; keys are the long option names without dashes");
  app_.allow_config_extras(CLI::config_extras_mode::error);
  app_.get_formatter()->column_width(34);
}

CLI::Option* OptionTable::add_flag(const std::string& name, bool& target, const std::string& help) {
  return remember(name, app_.add_flag("--" + name, target, help));
}

CLI::Option* OptionTable::remember(const std::string& name, CLI::Option* option) {
  names_.push_back(name);
  return option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

bool OptionTable::parse(const std::vector<std::string>& args) {
  // CLI11 lets the file win over the environment; people expect the opposite. Environment values travel as
  // arguments ahead of the real ones, and the last one given counts.
  std::vector<std::string> all;
  if (const char* config = std::getenv("QWEND_CONFIG")) all.push_back(std::string("--config=") + config);
  for (const std::string& name : names_) {
    const char* value = std::getenv(environment_name(name).c_str());
    if (value != nullptr && *value != '\0') all.push_back("--" + name + "=" + value);
  }
  all.insert(all.end(), args.begin(), args.end());
  std::reverse(all.begin(), all.end());  // what CLI::App::parse(vector) wants
  try {
    app_.parse(all);
  } catch (const CLI::CallForHelp&) {
    std::cout << app_.help();
    return false;
  }
  return true;
}

}  // namespace qwend::cli
