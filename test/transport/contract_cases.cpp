#include <algorithm>
#include <map>
#include <memory>

#include "contract.hpp"
#include "cos2p/support/clock.hpp"

namespace transport_test {

using namespace cos2p;

namespace {

constexpr RingOptions kSmallRing{4, 4096, 1, 20};
constexpr RingOptions kHeldCopies{1,  4096, 1,
                                  20, 0,    8192};  // always from a copy that the server holds, in pieces

std::vector<std::size_t> sizes(std::size_t slot, std::size_t slots) {
  return {0, 1, 63, 64, slot - 1, slot, slot + 1, slot * slots, slot * slots + 5, 3 * slot * slots + 17,
          0, 8};
}

// Splits the body as an update's is: a bitmap and the values; and once in three pieces, one of them empty.
std::vector<Span<const std::byte>> in_parts(const std::vector<std::byte>& body, int number) {
  const Span<const std::byte> whole(body);
  const std::size_t first = std::min<std::size_t>(body.size(), number % 2 == 0 ? 64 : 100);
  if (number % 3 == 0) return {whole};
  return {whole.subspan(0, first), whole.subspan(first, 0), whole.subspan(first, body.size() - first)};
}

bool push_number(WorkerEnd& end, int number, std::size_t bytes) {
  const std::vector<std::byte> body = make_body(end.worker, number, bytes);
  return end.channel.push(make_header(end.worker, number, bytes), in_parts(body, number));
}

// Every message of every worker has come, once, in order, and as it was sent.
void expect_all(ServerEnd& end, const KeepingSink& sink, std::size_t messages_per_worker) {
  std::map<int, int> next;
  for (const Message& message : sink.messages) {
    const MessageHeader& h = message.header;
    end.findings.expect(message.worker.value() == h.client,
                        "a message came through another worker's channel");
    end.findings.expect(h.client_round == next[h.client]++, "messages are out of order");
    const MessageHeader sent = make_header(h.client, h.client_round, static_cast<std::size_t>(h.body_bytes));
    end.findings.expect(
        h.segment == sent.segment && h.base_version == sent.base_version && h.weight == sent.weight,
        "a header changed");
    end.findings.expect(body_is_right(message),
                        "a body of " + std::to_string(h.body_bytes) + " bytes changed");
  }
  end.findings.expect(sink.messages.size() == messages_per_worker * end.channels.size(),
                      "messages are missing: " + std::to_string(sink.messages.size()));
  end.findings.expect(end.dropped() == 0, "something was dropped");
}

Case messages_of_all_sizes(const std::string& name, RingOptions ring) {
  const auto all = sizes(static_cast<std::size_t>(ring.slot_bytes), static_cast<std::size_t>(ring.slots));
  return {name, ring,
          [all](ServerEnd& end) {
            KeepingSink sink;
            end.run(sink, [&] {
              return end.all_closed() && sink.messages.size() >= all.size() * end.channels.size();
            });
            expect_all(end, sink, all.size());
          },
          [all](WorkerEnd& end) {
            std::int64_t bytes = 0;
            for (std::size_t i = 0; i < all.size(); ++i) {
              end.findings.expect(push_number(end, static_cast<int>(i), all[i]),
                                  "push said that the server is gone");
              bytes += static_cast<std::int64_t>(all[i]);
            }
            end.findings.expect(end.channel.stats().bytes_pushed == bytes, "bytes are counted wrongly");
            end.channel.close();
          }};
}

Case many_small_messages() {
  constexpr int kMessages = 150;
  return {"many small messages", kSmallRing,
          [](ServerEnd& end) {
            KeepingSink sink;
            end.run(sink, [&] {
              return end.all_closed() && sink.messages.size() >= kMessages * end.channels.size();
            });
            expect_all(end, sink, kMessages);
          },
          [](WorkerEnd& end) {
            for (int i = 0; i < kMessages; ++i)
              end.findings.expect(push_number(end, i, static_cast<std::size_t>(i)), "push failed");
            end.channel.close();
          }};
}

float published_value(int segment, std::uint64_t version) {
  return static_cast<float>(segment) + 1000.0F * static_cast<float>(version);
}

Case whole_segments_while_publishing(const std::string& name, RingOptions ring) {
  constexpr std::uint64_t kVersions = 60;
  return {name, ring,
          [](ServerEnd& end) {
            KeepingSink sink;
            std::uint64_t version = 0;
            end.run(sink, [&] {
              if (version < kVersions) {
                ++version;
                for (const Segment& segment : end.table) {
                  const std::uint64_t given =
                      end.store.publish(segment.id, 1, [&](std::int64_t, Span<float> values) {
                        std::fill(values.begin(), values.end(), published_value(segment.id.value(), version));
                      });
                  end.findings.expect(given == version, "publish() gave another version");
                }
              }
              return end.all_closed();
            });
          },
          [ring](WorkerEnd& end) {
            std::vector<std::uint64_t> seen(static_cast<std::size_t>(end.table.size()), 0);
            for (bool complete = false; !complete;) {
              complete = true;
              for (const Segment& segment : end.table) {
                std::vector<float> values(static_cast<std::size_t>(segment.numel));
                const std::uint64_t version = end.channel.read_segment(segment.id, values);
                const float expected = version == 0 ? 0.0F : published_value(segment.id.value(), version);
                const bool whole =
                    std::all_of(values.begin(), values.end(), [&](float v) { return v == expected; });
                end.findings.expect(whole, "half a segment was read");
                std::uint64_t& before = seen[static_cast<std::size_t>(segment.id.value())];
                end.findings.expect(version >= before, "an older version was read");
                before = version;
                complete = complete && version == kVersions;
              }
            }
            end.findings.expect(end.channel.read_versions() == seen, "read_versions() differs");
            end.findings.expect(ring.torn_reads > 0 || end.channel.stats().held_reads > 0,
                                "no copy was held");
            end.channel.close();
          }};
}

Case notices_and_tasks() {
  return {"notices and tasks", kSmallRing,
          [](ServerEnd& end) {
            KeepingSink sink;
            std::int32_t round = 0;
            end.run(sink, [&] {
              if (round < 200) {
                ++round;
                Notice notice;
                notice.phase = Notice::Phase::running;
                notice.round = round;
                notice.rounds = round * 2;
                notice.lockstep = round % 2;
                for (ServerChannel* channel : end.channels) {
                  channel->set_notice(notice);
                  std::vector<ClientTask> tasks(static_cast<std::size_t>(round % kMaxTasks));
                  for (ClientTask& task : tasks) {
                    task.client = round;
                    task.assignment.heads = round + channel->worker().value();
                  }
                  channel->set_tasks(tasks);
                }
              }
              return end.all_closed();
            });
          },
          [](WorkerEnd& end) {
            Notice last;
            while (last.round < 200) {
              const Notice notice = end.channel.read_notice();
              end.findings.expect(notice.round >= last.round && notice.rounds == 2 * notice.round &&
                                      notice.lockstep == notice.round % 2,
                                  "a notice is torn");
              last = notice;
              const std::vector<ClientTask> tasks = end.channel.read_tasks();
              for (const ClientTask& task : tasks) {
                end.findings.expect(
                    task.client == tasks.front().client && task.assignment.heads == task.client + end.worker,
                    "the tasks are torn");
              }
              end.findings.expect(
                  tasks.empty() || tasks.size() == static_cast<std::size_t>(tasks.front().client % kMaxTasks),
                  "tasks are missing");
            }
            end.channel.close();
          }};
}

Case heartbeats() {
  return {"heartbeats in both directions", kSmallRing,
          [](ServerEnd& end) {
            KeepingSink sink;
            end.run(sink, [&] { return end.all_closed(); });
            for (const ServerChannel* channel : end.channels)
              end.findings.expect(channel->worker_heartbeat() == 5, "heartbeats are missing");
          },
          [](WorkerEnd& end) {
            for (int i = 0; i < 5; ++i) end.channel.heartbeat();
            for (int i = 0; i < 20; ++i) end.channel.read_notice();
            end.findings.expect(end.channel.server_silence_s() < 5, "the server's heartbeat was not seen");
            end.channel.close();
          }};
}

Case back_pressure() {
  return {"a sink without memory stops the sender alone", kSmallRing,
          [](ServerEnd& end) {
            KeepingSink sink;
            const double start = monotonic_seconds();
            // Worker 1 has to wait; the others must get through meanwhile.
            const auto blocked = [&] { return monotonic_seconds() - start < 0.2; };
            sink.judge = [&](WorkerRank worker, const MessageHeader&) {
              return worker.value() == 1 && blocked() ? MessageSink::Verdict::later
                                                      : MessageSink::Verdict::accept;
            };
            end.run(sink,
                    [&] { return end.all_closed() && sink.messages.size() >= 6 * end.channels.size(); });
            expect_all(end, sink, 6);
          },
          [](WorkerEnd& end) {
            for (int i = 0; i < 6; ++i) end.findings.expect(push_number(end, i, 20000), "push failed");
            if (end.worker == 1)
              end.findings.expect(end.channel.stats().waiting_s > 0.05, "the sender was not held up");
            end.channel.close();
          }};
}

Case rejection() {
  return {"rejected messages are skipped and counted", kSmallRing,
          [](ServerEnd& end) {
            KeepingSink sink;
            sink.judge = [](WorkerRank, const MessageHeader& header) {
              return header.client_round % 2 == 1 ? MessageSink::Verdict::reject
                                                  : MessageSink::Verdict::accept;
            };
            const auto channels = end.channels.size();
            end.run(sink, [&] {
              return end.all_closed() && sink.messages.size() >= 5 * channels &&
                     end.dropped() >= static_cast<std::int64_t>(5 * channels);
            });
            for (const Message& message : sink.messages)
              end.findings.expect(message.header.client_round % 2 == 0 && body_is_right(message),
                                  "a wrong message");
            for (const ServerChannel* channel : end.channels) {
              end.findings.expect(channel->dropped().rejected == 5 && channel->dropped().total() == 5,
                                  "counted wrongly");
            }
          },
          [](WorkerEnd& end) {
            for (int i = 0; i < 10; ++i)
              end.findings.expect(push_number(end, i, 3000U * static_cast<unsigned>(i)), "push failed");
            // A last message keeps the server polling until the tenth has been judged.
            end.channel.close();
          }};
}

Case stopping(Notice::Phase phase, const std::string& name) {
  return {name, kSmallRing,
          [phase](ServerEnd& end) {
            Notice notice;
            notice.phase = phase;
            for (ServerChannel* channel : end.channels) channel->set_notice(notice);
            KeepingSink sink;
            sink.judge = [](WorkerRank, const MessageHeader&) { return MessageSink::Verdict::later; };
            end.run(sink, [&] { return end.all_closed(); });
            end.findings.expect(sink.messages.empty(), "a message came through");
          },
          [](WorkerEnd& end) {
            const bool sent = push_number(end, 0, 100000);
            end.findings.expect(!sent, "push did not say that the server has stopped");
            end.channel.close();
          }};
}

Case leaving_in_the_middle() {
  return {"a worker that leaves in the middle of a message", kSmallRing,
          [](ServerEnd& end) {
            KeepingSink sink;
            int closed = 0;
            // Takes the first message and two slots of the second, then tells the workers to stop.
            end.run(sink, [&] {
              if (sink.messages.size() == end.channels.size() && closed++ == 0) {
                Notice notice;
                notice.phase = Notice::Phase::stopping;
                for (ServerChannel* channel : end.channels) channel->set_notice(notice);
              }
              return end.all_closed() && end.dropped() == static_cast<std::int64_t>(end.channels.size());
            });
            for (const ServerChannel* channel : end.channels)
              end.findings.expect(channel->dropped().truncated == 1, "not counted as truncated");
            end.findings.expect(sink.messages.size() == end.channels.size(), "half a message was delivered");
          },
          [](WorkerEnd& end) {
            end.findings.expect(push_number(end, 0, 10), "push failed");
            push_number(end, 1, 64 << 20);
            end.channel.close();
          }};
}

std::vector<Case> make_cases() {
  return {
      messages_of_all_sizes("messages of all sizes", kSmallRing),
      messages_of_all_sizes("messages of all sizes, one slot", RingOptions{1, 8192, 1, 20}),
      messages_of_all_sizes("messages of all sizes, slots of many blocks", RingOptions{3, 100 << 10, 1, 20}),
      many_small_messages(),
      whole_segments_while_publishing("segments are read whole while they are published", kSmallRing),
      whole_segments_while_publishing("segments are read whole from held copies", kHeldCopies),
      notices_and_tasks(),
      heartbeats(),
      back_pressure(),
      rejection(),
      stopping(Notice::Phase::stopping, "push ends when the server stops"),
      stopping(Notice::Phase::excluded, "push ends when the worker is excluded"),
      leaving_in_the_middle()};
}

}  // namespace

const std::vector<Case>& contract_cases() {
  static const std::vector<Case> cases = make_cases();
  return cases;
}

}  // namespace transport_test
