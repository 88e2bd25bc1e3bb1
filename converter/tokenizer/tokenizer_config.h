// tokenizer_config.json and its older companions: what transformers' fast tokenizer classes make of a tokenizer when they load it.
#pragma once

#include <cstdint>
#include <string>

#include "converter/tokenizer/tokenizer_draft.h"
#include "pets/status.h"

namespace pets::converter {

/// Applies `directory`'s tokenizer_config.json, special_tokens_map.json and added_tokens.json to `draft` as AutoTokenizer does
/// (transformers 4.57: tokenization_utils_base.py, tokenization_utils_fast.py, bert/tokenization_bert_fast.py):
///  - the class comes from tokenizer_config.json, else from config.json; without either the draft stands as it is;
///  - BERT's classes set lower case, accents and ideographs anew, also where the file does not name them (then to BERT's defaults);
///  - tokens of `added_tokens_decoder` and special tokens that the tokenizer has not yet are added to it.
/// `from_vocabulary`: the draft came from vocab.txt, so class, separator and unknown token are named here too.
/// `model_max_length` becomes 0 where none is given.
Status apply_tokenizer_config(const std::string& directory, bool from_vocabulary, TokenizerDraft& draft, uint64_t& model_max_length);

}  // namespace pets::converter
