#pragma once

#include <string>
#include <vector>

namespace cos2p::config {

/// The budgets of a fleet file: one client a line, its budget and after a space, for people, its name; '#'
/// begins a comment.
///     # my boards
///     orin-nano   kitchen
///     2GiB        old laptop
///     0.25
/// Throws Error(usage) for a file that cannot be read, is empty or is not such a text.
std::vector<std::string> read_fleet_file(const std::string& path);

}  // namespace cos2p::config
