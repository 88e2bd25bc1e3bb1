// The drift of every task as a table for people.
#pragma once

#include <string>
#include <vector>

#include "converter/check/drift.h"

namespace pets::converter {

/// Puts the tasks that change most, as a part of their largest logit, first; equal ones stay in order.
void sort_by_drift(std::vector<TaskDrift>& drifts);

/// A heading and a line a task, in columns.
std::vector<std::string> drift_table(const std::vector<TaskDrift>& drifts);

}  // namespace pets::converter
