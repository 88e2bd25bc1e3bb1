// detect_pet_format, by looking.
#include <gtest/gtest.h>

#include "tests/converter/golden_files.h"

namespace pets::converter {
namespace {

using testing::golden_base;
using testing::golden_pet;
using testing::is_ok;
using testing::is_refused;

TEST(PetFormat, IsRecognisedByTheFiles) {
  const auto format = [](const std::string& path) {
    const auto found = detect_pet_format(path);
    return found ? *found : std::string(found.status().c_str());
  };
  EXPECT_EQ(format(golden_pet("lora-qv")), "peft");
  EXPECT_EQ(format(golden_pet("lora-pickled")), "peft");
  EXPECT_EQ(format(golden_pet("houlsby")), "adapterhub");
  EXPECT_EQ(format(golden_pet("static-sequence")), "adapterhub");
  EXPECT_EQ(format(golden_pet("op-low-rank")), "operators");
  EXPECT_EQ(format(golden_pet("ckpt-bitfit")), "checkpoint");
  EXPECT_EQ(format(golden_base("tiny64r")), "checkpoint");
}

TEST(PetFormat, RefusesWhatIsNoneOrTwo) {
  const testing::TemporaryDirectory empty;
  EXPECT_TRUE(is_refused(detect_pet_format(empty.path()), empty.path(), "adapter_config.json", "pet_operators.safetensors"));
  EXPECT_TRUE(is_refused(detect_pet_format(empty.file("absent")), "found nothing"));
  testing::write_file(empty.file("adapter_config.json"), "{}");
  EXPECT_TRUE(is_refused(detect_pet_format(empty.file("adapter_config.json")), "found a file"));
  EXPECT_TRUE(is_refused(detect_pet_format(empty.path()), "adapter_config.json", "peft_type"));
  testing::write_file(empty.file("adapter_config.json"), "{");
  EXPECT_TRUE(is_refused(detect_pet_format(empty.path()), "adapter_config.json", "malformed JSON"));
  testing::write_file(empty.file("adapter_config.json"), R"({"peft_type":"LORA"})");
  testing::write_file(empty.file("pet_operators.safetensors"), "");
  EXPECT_TRUE(is_refused(detect_pet_format(empty.path()), "operators or peft", "format"));
}

}  // namespace
}  // namespace pets::converter
