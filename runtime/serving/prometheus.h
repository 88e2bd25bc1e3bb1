// Metrics as Prometheus reads them.
#pragma once

#include <string>

#include "runtime/serving/metrics.h"

namespace pets::serving {

/// Content-Type of what `prometheus_text` returns.
inline constexpr const char* kPrometheusContentType = "text/plain; version=0.0.4; charset=utf-8";

/// Everything, in the text exposition format 0.0.4, UTF-8, names in base units as
/// https://prometheus.io/docs/instrumenting/exposition_formats and https://prometheus.io/docs/practices/naming want them. Totals over tasks
/// are not given: sum() makes them. Any thread at any time; allocates the text, about 4 KiB a task.
std::string prometheus_text(const Metrics& metrics);

}  // namespace pets::serving
