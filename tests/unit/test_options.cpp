// Command line, TOML file and environment come from one table, and configs/serve.toml shows all of it.
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "server/cli/options.h"
#include "tests/support/catch2.h"
#include "tests/support/temp_dir.h"

using namespace qwend::cli;

namespace {

struct Parsed {
  ServeOptions options;
  explicit Parsed(const std::vector<std::string>& args) {
    OptionTable table("serve", "");
    add_serve_options(table, options);
    REQUIRE(table.parse(args));
  }
};

std::string write_config(const std::string& text) {
  static const qwend::test::TempDir folder;  // goes away with the process
  const std::string path = folder.path("serve.toml");
  std::ofstream(path) << text;
  return path;
}

}  // namespace

TEST_CASE("options: the command line wins over the environment, the environment over the file", "[unit]") {
  const std::string file =
      write_config("port = 1\nmax-seqs = 11\nctx = 111\nhost = \"::1\"\nstrict-params = true\n");
  ::setenv("QWEND_PORT", "2", 1);
  ::setenv("QWEND_MAX_SEQS", "22", 1);
  const Parsed parsed({"--config", file, "--port", "3"});
  ::unsetenv("QWEND_PORT");
  ::unsetenv("QWEND_MAX_SEQS");
  CHECK(parsed.options.port == 3);
  CHECK(parsed.options.model.max_seqs == 22);
  CHECK(parsed.options.model.ctx == 111);
  CHECK(parsed.options.host == "::1");
  CHECK(parsed.options.strict_params);
  CHECK(parsed.options.model.max_batch_tokens == 0);
}

TEST_CASE("options: mistakes are named", "[unit]") {
  OptionTable table("serve", "");
  ServeOptions options;
  add_serve_options(table, options);
  CHECK_THROWS_AS(table.parse({"--port", "70000"}), CLI::ParseError);
  CHECK_THROWS_AS(table.parse({"--device", "abacus"}), CLI::ParseError);
  CHECK_THROWS_AS(table.parse({"--no-such-option"}), CLI::ParseError);
  CHECK_THROWS_AS(table.parse({"--config", "no-such-file.toml"}), CLI::ParseError);
  CHECK_THROWS_AS(table.parse({"--config", write_config("no-such-key = 1\n")}), CLI::ParseError);
}

TEST_CASE("options: configs/serve.toml lists every option and its lines are accepted", "[unit]") {
  std::ifstream in(QWEND_SOURCE_DIR "/configs/serve.toml");
  std::stringstream text;
  text << in.rdbuf();
  REQUIRE(!text.str().empty());

  OptionTable table("serve", "");
  ServeOptions options;
  add_serve_options(table, options);
  for (const CLI::Option* option : table.app().get_options()) {
    const std::string name = option->get_single_name();
    if (name == "help" || name == "config") continue;
    INFO(name);
    CHECK(text.str().find("\n# " + name + " = ") != std::string::npos);
  }

  // With the comment signs of the settings taken away the file must parse.
  std::string uncommented;
  for (std::string line; std::getline(text, line);) {
    const bool setting =
        line.starts_with("# ") && line.find(" = ") != std::string::npos && line[2] >= 'a' && line[2] <= 'z';
    uncommented += (setting ? line.substr(2) : line) + "\n";
  }
  const Parsed parsed({"--config", write_config(uncommented)});
  CHECK(parsed.options.api_key_file == "/etc/qwend/keys");
  CHECK(parsed.options.drain_timeout == 30);
}
