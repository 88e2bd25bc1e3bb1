// pets-convert: packs encoders and tasks into bundles, and looks at what is in them.
#include <CLI/CLI.hpp>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <iostream>
#include <optional>
#include <string>

#include "converter/bundle/precision.h"
#include "converter/cli/console.h"
#include "converter/cli/inspect.h"
#include "converter/cli/pack.h"
#include "converter/cli/verify.h"
#include "converter/files/temporary_file.h"
#include "converter/manifest/manifest.h"
#include "pets/version.h"
#include "runtime/platform/standard_streams.h"

namespace pets::converter {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

/// A finite number that is not negative.
std::string check_bound(const std::string& text) {
  double value = 0;
  if (CLI::detail::lexical_cast(text, value) && std::isfinite(value) && value >= 0) return {};
  return "expected a number of at least 0, found " + text;
}

std::string check_not_empty(const std::string& text) { return text.empty() ? "expected a file's name, found nothing" : ""; }

/// Whether all that was printed is there: on a full disk the answer is lost, which is no success.
bool is_printed() { return std::cout.flush() && std::fflush(stdout) == 0 && std::ferror(stdout) == 0; }

/// The commands, their options, and what runs them. Names of formats that a later version will take are refused by name.
class CommandLine {
 public:
  CommandLine() {
    app_.require_subcommand(1);
    define_pack();
    define_add();
    define_inspect();
    define_verify();
    app_.set_version_flag("--version", kVersion);
    for (CLI::App* command : app_.get_subcommands({})) command->set_version_flag("--version", kVersion);
    app_.footer("Exit status: 0 all is well, 1 something failed, 2 wrong usage. README.md describes manifests.");
  }

  int run(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::RequiredError& error) {
      // "A subcommand is required" would not say what is wrong with the one that was given.
      const std::string first = argc > 1 ? argv[1] : "";
      if (!app_.get_subcommands().empty() || first.empty() || first[0] == '-') return usage(error);
      return usage(
          CLI::ExtrasError("no command is called " + first + "; expected pack, add, inspect or verify", CLI::ExitCodes::ExtrasError));
    } catch (const CLI::ParseError& error) {
      return usage(error);
    }
    Console console;
    bool well = command_(console);
    if (!is_printed()) {
      console.error(std::string("cannot write standard output: ") + std::strerror(errno));
      well = false;
    }
    return well ? 0 : kExitFailed;
  }

 private:
  static constexpr const char* kVersion = "pets-convert " PETS_VERSION_STRING;

  /// Help, version and wrong usage.
  int usage(const CLI::ParseError& error) {
    const int status = app_.exit(error) == 0 ? 0 : kExitUsage;
    if (is_printed()) return status;
    Console().error("cannot write standard output");
    return kExitFailed;
  }

  void define_pack() {
    CLI::App* command = app_.add_subcommand("pack", "Pack a base and its tasks into one bundle");
    command->add_option("MANIFEST", pack_.manifest, "the YAML file that names base and tasks")->required();
    command->add_option("-o,--output", pack_.output, "the bundle to write")->required()->check(check_not_empty)->type_name("OUT.pets");
    command
        ->add_option("--target", target_,
                     "whose layout the base gets: cpu, or cuda, which a Jetson's GPU reads in place; both backends run either")
        ->check(CLI::IsMember({"cpu", "cuda"}))
        ->type_name("NAME");
    command
        ->add_option("--precision", precision_, "of the linear weights of the base's layers: fp32, fp16, bf16 or int8; beats the manifest")
        ->check(CLI::IsMember({"fp32", "fp16", "bf16", "int8"}))
        ->type_name("NAME");
    command->add_option("--calibration", pack_.calibration, "texts, one a line, on which to measure what reduced precision changes")
        ->type_name("TEXTFILE");
    command
        ->add_option("--max-drift", pack_.max_drift,
                     "refuse a task whose logits reduced precision changes by more than this part of the largest")
        ->check(check_bound)
        ->type_name("X");
    command->callback([this] { command_ = [this](Console& console) { return run_pack(console); }; });
  }

  void define_add() {
    CLI::App* command = app_.add_subcommand("add", "Pack tasks alone, for the base of a bundle, into a delta bundle");
    command->add_option("BASE", add_.bundle, "the bundle whose base the tasks belong to")->required();
    command->add_option("MANIFEST", add_.manifest, "the YAML file that names the tasks; its base is needed for checkpoints only")
        ->required();
    command->add_option("-o,--output", add_.output, "the delta bundle to write")
        ->required()
        ->check(check_not_empty)
        ->type_name("TASKS.pets");
    command->callback([this] { command_ = [this](Console& console) { return add(add_, console); }; });
  }

  void define_inspect() {
    CLI::App* command = app_.add_subcommand("inspect", "List what a bundle holds");
    command->add_option("FILE", inspect_.file, "a bundle or delta bundle")->required();
    command->add_flag("--json", inspect_.json, "as JSON");
    command->callback([this] { command_ = [this](Console& console) { return inspect(inspect_, console); }; });
  }

  void define_verify() {
    CLI::App* command = app_.add_subcommand("verify", "Check files, and the answers that this build gives");
    command->add_option("FILE", verify_.files, "bundles, and delta bundles with their base's bundle beside them")->required();
    command->add_option("--against", verify_.against, "input lines with the logits another implementation gave")
        ->type_name("EXPECTED.jsonl");
    command->add_option("--tolerance", verify_.tolerance, "largest error allowed, as a part of the task's largest expected logit")
        ->check(check_bound)
        ->capture_default_str()
        ->type_name("X");
    command->callback([this] { command_ = [this](Console& console) { return verify(verify_, console); }; });
  }

  bool run_pack(Console& console) {
    pack_.target = target_ == "cuda" ? Target::kCuda : Target::kCpu;
    Precision precision = Precision::kFloat32;
    if (parse_precision(precision_, &precision)) pack_.precision = precision;
    return console.errors() == 0 && pack(pack_, console);
  }

  CLI::App app_{"Packs one shared encoder and many parameter-efficient tasks into a bundle for pets-run and libpets.", "pets-convert"};
  std::function<bool(Console&)> command_;
  PackOptions pack_;
  std::string target_ = "cpu", precision_;
  AddOptions add_;
  InspectOptions inspect_;
  VerifyOptions verify_;
};

int run(int argc, char** argv) {
  try {
    remove_temporary_files_on_signals();
    return CommandLine().run(argc, argv);
  } catch (const std::bad_alloc&) {
    Console().error("out of memory");
  } catch (const std::exception& error) {
    Console().error(error.what());
  }
  return kExitFailed;
}

}  // namespace
}  // namespace pets::converter

int main(int argc, char** argv) {
  pets::platform::occupy_standard_streams();
  pets::platform::report_failed_writes();
  return pets::converter::run(argc, argv);
}
