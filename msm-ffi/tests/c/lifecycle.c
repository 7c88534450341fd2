/* Everything once, from the beginning to the end, and every argument NULL. */
#include "common.h"

#include <poll.h>
#include <pthread.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned ended, events;

static void told(const msm_event *event, void *user_data) {
  CHECK(user_data == &ended && event->name != NULL && event->text != NULL);
  pthread_mutex_lock(&lock);
  events++;
  if (event->kind == MSM_EVENT_KIND_ENDED) {
    CHECK(event->stream != 0 && strstr(event->text, "publisher") != NULL);
    ended++;
  }
  pthread_mutex_unlock(&lock);
}

static unsigned lines;

static void logged(msm_log_level level, const char *line, void *user_data) {
  CHECK(level >= MSM_LOG_LEVEL_ERROR && level <= MSM_LOG_LEVEL_TRACE && user_data == NULL && line[0] != 0);
  __atomic_fetch_add(&lines, 1, __ATOMIC_RELAXED);
}

static int readable(int descriptor, int timeout_ms) {
  struct pollfd own = {.fd = descriptor, .events = POLLIN};
  int count = poll(&own, 1, timeout_ms);
  CHECK(count >= 0);
  return count;
}

static void nulls(msm_mesh *mesh, msm_reader *reader, msm_publisher *publisher, const msm_burst *burst) {
  const msm_result null = MSM_RESULT_NULL_POINTER;
  char text[64];
  char *string = NULL;
  const char *constant = NULL;
  size_t count = 0;
  int descriptor = -1;
  uint8_t bytes[PACKET];
  packet(bytes, 1);
  msm_mesh *no_mesh = NULL;
  msm_reader *no_reader = NULL;
  msm_publisher *no_publisher = NULL;
  msm_burst no_burst = {0};
  msm_packet one;
  msm_track track;
  msm_reader_statistics read;
  msm_publisher_statistics published;

  WANT(null, msm_options_init(NULL));
  WANT(null, msm_mesh_start("workers: 1", NULL));
  WANT(null, msm_mesh_start_file(NULL, &no_mesh));
  WANT(null, msm_mesh_start_file("none.yaml", NULL));
  WANT(null, msm_mesh_serve(NULL));
  WANT(null, msm_mesh_listener(NULL, 0, text, sizeof text));
  WANT(null, msm_mesh_listener(mesh, 0, NULL, sizeof text));
  WANT(null, msm_mesh_reload(NULL, "none.yaml"));
  WANT(null, msm_mesh_reload(mesh, NULL));
  WANT(null, msm_mesh_status(NULL, &string));
  WANT(null, msm_mesh_status(mesh, NULL));
  WANT(null, msm_mesh_metrics(NULL, &string));
  WANT(null, msm_mesh_metrics(mesh, NULL));
  WANT(null, msm_mesh_on_event(NULL, told, NULL));
  WANT(null, msm_mesh_on_event(mesh, NULL, NULL));
  WANT(null, msm_mesh_shutdown(NULL, 0));
  WANT(null, msm_mesh_free(NULL));
  msm_string_free(NULL);
  WANT(null, msm_log_to(NULL, logged, NULL));
  WANT(null, msm_log_to("info", NULL, NULL));

  WANT(null, msm_mesh_open(NULL, "rtsp://test/in", NULL, &no_reader));
  WANT(null, msm_mesh_open(mesh, NULL, NULL, &no_reader));
  WANT(null, msm_mesh_open(mesh, "rtsp://test/in", NULL, NULL));
  WANT(null, msm_reader_recv_burst(NULL, 0, &no_burst));
  WANT(null, msm_reader_recv_burst(reader, 0, NULL));
  WANT(null, msm_reader_recv(NULL, 0, &no_burst));
  WANT(null, msm_reader_recv(reader, 0, NULL));
  WANT(null, msm_reader_fd(NULL, &descriptor));
  WANT(null, msm_reader_fd(reader, NULL));
  WANT(null, msm_reader_sdp(NULL, &constant));
  WANT(null, msm_reader_sdp(reader, NULL));
  WANT(null, msm_reader_tracks(NULL, &count));
  WANT(null, msm_reader_tracks(reader, NULL));
  WANT(null, msm_reader_track(NULL, 0, &track));
  WANT(null, msm_reader_track(reader, 0, NULL));
  WANT(null, msm_reader_stats(NULL, &read));
  WANT(null, msm_reader_stats(reader, NULL));
  WANT(null, msm_reader_end_cause(NULL, &string));
  WANT(null, msm_reader_end_cause(reader, NULL));
  WANT(null, msm_reader_pause(NULL));
  WANT(null, msm_reader_resume(NULL));
  WANT(null, msm_reader_free(NULL));

  WANT(null, msm_mesh_publish(NULL, "rtsp://test/in", SDP, NULL, &no_publisher));
  WANT(null, msm_mesh_publish(mesh, NULL, SDP, NULL, &no_publisher));
  WANT(null, msm_mesh_publish(mesh, "rtsp://test/in", NULL, NULL, &no_publisher));
  WANT(null, msm_mesh_publish(mesh, "rtsp://test/in", SDP, NULL, NULL));
  WANT(null, msm_publisher_send(NULL, 0, bytes, PACKET, 0));
  WANT(null, msm_publisher_send(publisher, 0, NULL, PACKET, 0));
  WANT(null, msm_publisher_send_burst(NULL, 0, bytes, PACKET, PACKET, 0));
  WANT(null, msm_publisher_send_burst(publisher, 0, NULL, PACKET, PACKET, 0));
  WANT(null, msm_publisher_send_rtcp(NULL, 0, bytes, PACKET));
  WANT(null, msm_publisher_send_rtcp(publisher, 0, NULL, PACKET));
  WANT(null, msm_publisher_forward(NULL, 0, burst, 0));
  WANT(null, msm_publisher_forward(publisher, 0, NULL, 0));
  WANT(null, msm_publisher_fd(NULL, &descriptor));
  WANT(null, msm_publisher_fd(publisher, NULL));
  WANT(null, msm_publisher_readers(NULL, &count));
  WANT(null, msm_publisher_readers(publisher, NULL));
  WANT(null, msm_publisher_stats(NULL, &published));
  WANT(null, msm_publisher_stats(publisher, NULL));
  WANT(null, msm_publisher_free(NULL));
  WANT(null, msm_publisher_close(NULL, -1));

  WANT(null, msm_burst_packet(NULL, 0, &one));
  WANT(null, msm_burst_packet(burst, 0, NULL));
  WANT(null, msm_burst_release(NULL));

  /* Nothing was written. */
  CHECK(no_mesh == NULL && no_reader == NULL && no_publisher == NULL && string == NULL && constant == NULL);
  CHECK(no_burst.bytes == NULL && count == 0 && descriptor == -1);
}

static void refused(msm_mesh *mesh, msm_reader *reader, msm_publisher *publisher) {
  msm_mesh *no_mesh = NULL;
  msm_reader *no_reader = NULL;
  msm_publisher *no_publisher = NULL;
  msm_burst no_burst = {0};
  uint8_t bytes[PACKET];
  packet(bytes, 1);
  WANT(MSM_RESULT_BAD_CONFIGURATION, msm_mesh_start("workerz: 1", &no_mesh));
  CHECK(strstr(msm_last_error(), "workers") != NULL);
  WANT(MSM_RESULT_BAD_CONFIGURATION, msm_mesh_start_file("/nowhere/none.yaml", &no_mesh));
  WANT(MSM_RESULT_NOT_UTF8, msm_mesh_start("\xff", &no_mesh));
  WANT(MSM_RESULT_BAD_URL, msm_mesh_open(mesh, "no url", NULL, &no_reader));
  WANT(MSM_RESULT_NOT_PUBLISHED, msm_mesh_open(mesh, "rtsp://test/nobody", NULL, &no_reader));
  WANT(MSM_RESULT_BAD_DESCRIPTION, msm_mesh_publish(mesh, "rtsp://test/bad", "v=0\r\n", NULL, &no_publisher));
  msm_options options;
  OK(msm_options_init(&options));
  options.reserved[0] = 3;
  WANT(MSM_RESULT_INVALID_ARGUMENT, msm_mesh_open(mesh, "rtsp://test/in", &options, &no_reader));
  WANT(MSM_RESULT_INVALID_ARGUMENT, msm_publisher_send(publisher, 0, bytes, 0, 0));
  WANT(MSM_RESULT_REFUSED, msm_publisher_send_burst(publisher, 0, bytes, PACKET, 0, 0));
  WANT(MSM_RESULT_INVALID_ARGUMENT, msm_burst_release(&no_burst));
  WANT(MSM_RESULT_INVALID_ARGUMENT, msm_log_to("msm=nonsense=", logged, NULL));
  /* A handle of another type, and what is none at all. */
  WANT(MSM_RESULT_INVALID_HANDLE, msm_reader_pause((msm_reader *)publisher));
  WANT(MSM_RESULT_INVALID_HANDLE, msm_publisher_free((msm_publisher *)reader));
  WANT(MSM_RESULT_INVALID_HANDLE, msm_mesh_shutdown((msm_mesh *)&no_burst, 0));
  CHECK(no_mesh == NULL && no_reader == NULL && no_publisher == NULL);
}

int main(void) {
  CHECK(msm_version()[0] != 0 && msm_version_number() > 0);
  CHECK(msm_last_error()[0] == 0);
  OK(msm_log_to("info", logged, NULL));
  WANT(MSM_RESULT_ALREADY, msm_log_to("info", logged, NULL));

  msm_mesh *mesh = NULL;
  OK(msm_mesh_start("workers: 2", &mesh));
  OK(msm_mesh_on_event(mesh, told, &ended));
  WANT(MSM_RESULT_ALREADY, msm_mesh_on_event(mesh, told, &ended));
  msm_options options;
  OK(msm_options_init(&options));
  options.latency_ms = 80;
  msm_publisher *publisher = NULL;
  OK(msm_mesh_publish(mesh, "rtsp://test/in", SDP, &options, &publisher));
  msm_publisher *second = NULL;
  WANT(MSM_RESULT_ALREADY_PUBLISHED, msm_mesh_publish(mesh, "rtsp://test/in", SDP, NULL, &second));
  msm_reader *reader = NULL;
  OK(msm_mesh_open(mesh, "rtsp://test/in", &options, &reader));

  size_t count = 0;
  OK(msm_publisher_readers(publisher, &count));
  CHECK(count == 1);
  OK(msm_reader_tracks(reader, &count));
  CHECK(count == 1);
  msm_track track;
  OK(msm_reader_track(reader, 0, &track));
  CHECK(strcmp(track.media, "video") == 0 && strcmp(track.encoding, "H264") == 0);
  CHECK(track.clock_rate == 90000 && track.payload_type == 96);
  WANT(MSM_RESULT_ENDED, msm_reader_track(reader, 1, &track));
  const char *sdp = NULL;
  OK(msm_reader_sdp(reader, &sdp));
  CHECK(strstr(sdp, "a=rtpmap:96 H264/90000") != NULL);

  /* By waiting, and by polling. */
  msm_burst burst = {0};
  WANT(MSM_RESULT_AGAIN, msm_reader_recv_burst(reader, 0, &burst));
  WANT(MSM_RESULT_TIMED_OUT, msm_reader_recv_burst(reader, 5, &burst));
  uint8_t bytes[3 * PACKET];
  for (uint16_t number = 0; number < 3; number++) {
    packet(bytes + number * PACKET, number);
  }
  OK(msm_publisher_send_burst(publisher, 0, bytes, sizeof bytes, PACKET, 1000));
  size_t had = 0;
  while (had < 3) {
    OK(msm_reader_recv_burst(reader, 5000, &burst));
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t at = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    CHECK(burst.arrival_ns < at && at - burst.arrival_ns < 60000000000u && burst.track == 0);
    for (size_t index = 0; index < burst.count; index++, had++) {
      msm_packet one;
      OK(msm_burst_packet(&burst, index, &one));
      CHECK(one.raw_length == PACKET && one.payload_length == PACKET - 12 && one.marker && one.payload_type == 96);
      CHECK(memcmp(one.payload, bytes + had * PACKET + 12, PACKET - 12) == 0);
    }
    nulls(mesh, reader, publisher, &burst);
    OK(msm_publisher_forward(publisher, 0, &burst, 1000));
    OK(msm_burst_release(&burst));
    WANT(MSM_RESULT_INVALID_ARGUMENT, msm_burst_release(&burst));
    WANT(MSM_RESULT_INVALID_ARGUMENT, msm_publisher_forward(publisher, 0, &burst, 1000));
  }
  refused(mesh, reader, publisher);
  int descriptor = -1, room = -1;
  OK(msm_reader_fd(reader, &descriptor));
  OK(msm_publisher_fd(publisher, &room));
  CHECK(readable(room, 5000));
  msm_result result;
  unsigned sent = 0;
  for (uint16_t number = 3; number < 10; number++) {
    packet(bytes, number);
    OK(msm_publisher_send(publisher, 0, bytes, PACKET, 0));
    sent++;
  }
  unsigned got = 0;
  while (got < sent) {
    CHECK(readable(descriptor, 5000));
    while ((result = msm_reader_recv(reader, 0, &burst)) == MSM_RESULT_OK) {
      /* What was forwarded before comes, too, but with numbers that were taken already. */
      CHECK(burst.count == 1 && burst.length == PACKET);
      got++;
      OK(msm_burst_release(&burst));
    }
    CHECK(result == MSM_RESULT_AGAIN);
  }
  CHECK(!readable(descriptor, 0));
  uint8_t report[28] = {0x80, 200, 0, 6, 0, 0, 0, 9};
  OK(msm_publisher_send_rtcp(publisher, 0, report, sizeof report));

  msm_reader_statistics read;
  OK(msm_reader_stats(reader, &read));
  CHECK(read.packets >= 10 && read.bytes >= 10 * PACKET && read.dropped == 0);
  msm_publisher_statistics published;
  OK(msm_publisher_stats(publisher, &published));
  CHECK(published.readers == 1 && published.dropped == 0 && published.packets >= 9);
  char *text = NULL;
  OK(msm_mesh_status(mesh, &text));
  CHECK(strstr(text, "\"streams\"") != NULL && strstr(text, "rtsp://test/in") != NULL);
  msm_string_free(text);
  OK(msm_mesh_metrics(mesh, &text));
  CHECK(strstr(text, "msm_streams 1") != NULL);
  msm_string_free(text);
  OK(msm_reader_pause(reader));
  OK(msm_reader_resume(reader));
  WANT(MSM_RESULT_AGAIN, msm_reader_end_cause(reader, &text));

  /* A reader that is freed while a burst of it is held. */
  msm_reader *other = NULL;
  OK(msm_mesh_open(mesh, "rtsp://test/in", NULL, &other));
  packet(bytes, 10);
  OK(msm_publisher_send(publisher, 0, bytes, PACKET, 0));
  OK(msm_reader_recv_burst(other, 5000, &burst));
  OK(msm_reader_free(other));
  WANT(MSM_RESULT_INVALID_HANDLE, msm_reader_free(other));
  WANT(MSM_RESULT_INVALID_HANDLE, msm_reader_pause(other));
  CHECK(burst.bytes[0] == 0x80);
  OK(msm_burst_release(&burst));

  /* The end. */
  OK(msm_publisher_close(publisher, 5000));
  WANT(MSM_RESULT_INVALID_HANDLE, msm_publisher_free(publisher));
  do {
    CHECK(readable(descriptor, 5000));
    result = msm_reader_recv_burst(reader, 0, &burst);
    if (result == MSM_RESULT_OK) {
      OK(msm_burst_release(&burst));
    }
  } while (result == MSM_RESULT_OK || result == MSM_RESULT_AGAIN);
  CHECK(result == MSM_RESULT_ENDED);
  OK(msm_reader_end_cause(reader, &text));
  CHECK(strcmp(text, "its publisher has left") == 0);
  msm_string_free(text);
  OK(msm_mesh_shutdown(mesh, 0));
  msm_reader *late = NULL;
  WANT(MSM_RESULT_STOPPED, msm_mesh_open(mesh, "rtsp://test/in", NULL, &late));
  OK(msm_mesh_free(mesh));
  WANT(MSM_RESULT_INVALID_HANDLE, msm_mesh_free(mesh));
  WANT(MSM_RESULT_ENDED, msm_reader_recv_burst(reader, -1, &burst));
  OK(msm_reader_free(reader));
  CHECK(ended >= 1 && events >= ended);
  CHECK(lines > 0);
  puts("ok");
  return 0;
}
