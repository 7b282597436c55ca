// The contract on plain memory: a thread for the server, one for each worker.
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <thread>

#include "contract.hpp"
#include "cos2p/transport/in_process.hpp"

using namespace cos2p;
using namespace transport_test;

namespace {

void run_in_threads(const Case& contract, int workers) {
  const SegmentTable table(small_model());
  ModelStore store(table);
  Findings findings;
  std::vector<std::unique_ptr<InProcessChannel>> channels;
  ServerEnd server{table, store, {}, [] {}, findings};
  for (int worker = 1; worker <= workers; ++worker) {
    channels.push_back(
        make_in_process_channel(table, store, WorkerRank(worker), contract.ring, kMaxTasks, {}));
    server.channels.push_back(channels.back()->server.get());
  }
  std::vector<std::thread> threads;
  for (int worker = 1; worker <= workers; ++worker) {
    threads.emplace_back([&, worker] {
      WorkerEnd end{table, worker, *channels[static_cast<std::size_t>(worker - 1)]->worker, findings};
      try {
        contract.worker(end);
      } catch (const std::exception& error) {
        findings.expect(false, std::string("worker: ") + error.what());
        end.channel.close();
      }
    });
  }
  contract.server(server);
  for (std::thread& thread : threads) thread.join();
  for (const std::string& failure : findings.all()) BOOST_ERROR(failure);
  BOOST_TEST(findings.all().empty());
}

}  // namespace

BOOST_DATA_TEST_CASE(the_contract_holds_with_one_worker, boost::unit_test::data::make(contract_cases()),
                     contract) {
  run_in_threads(contract, 1);
}

BOOST_DATA_TEST_CASE(the_contract_holds_with_three_workers, boost::unit_test::data::make(contract_cases()),
                     contract) {
  run_in_threads(contract, 3);
}

BOOST_AUTO_TEST_CASE(one_thread_is_enough_when_idle_lets_the_server_run) {
  const SegmentTable table(small_model());
  ModelStore store(table);
  KeepingSink sink;
  std::unique_ptr<InProcessChannel> channel;
  channel = make_in_process_channel(table, store, WorkerRank(1), RingOptions{2, 4096, 1, 20}, 1,
                                    [&] { channel->server->poll(sink, 1); });
  for (int i = 0; i < 5; ++i) {
    const auto body = make_body(1, i, 100000);
    BOOST_TEST(channel->worker->push(make_header(1, i, body.size()), {Span<const std::byte>(body)}));
  }
  while (channel->server->poll(sink, 8) > 0) {
  }
  BOOST_REQUIRE(sink.messages.size() == 5U);
  for (const Message& message : sink.messages) BOOST_TEST(body_is_right(message));
}
