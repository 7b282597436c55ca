#pragma once

#include "option_builder.hpp"

namespace cos2p::config {

// The rows of the table, group by group, in the order of help and of options.toml.
void add_data(Table& t);
void add_partition(Table& t);
void add_model(Table& t);
void add_texts(Table& t);  ///< after the model, whose presets its options overrule
void add_method(Table& t);
void add_fleet(Table& t);
void add_policy(Table& t);
void add_local_training(Table& t);
void add_width(Table& t);
void add_objective(Table& t);
void add_simulation(Table& t);
void add_comparison(Table& t);
void add_run(Table& t);
/// To the rows above: those that a linear model has no use for.
void object_beside_linear(Table& t);

}  // namespace cos2p::config
