/* Publishes a tone, as G.711, and waits for the clock and for room in one poll(): publisher URL [SECONDS]
 *
 *   cc publisher.c $(pkg-config --cflags --libs msm) -lm -o publisher
 */
#include <math.h>
#include <msm.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { HEADER = 12, SAMPLES = 160 }; /* of 20 ms */

static const char sdp[] = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=tone\r\nt=0 0\r\n"
                          "m=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=control:trackID=0\r\n";

static int failed(const char *what, msm_result result) {
  fprintf(stderr, "%s: %s: %s\n", what, msm_result_name(result), msm_last_error());
  return 1;
}

/* A sample of 16 bits as one of eight (ITU-T G.711). */
static uint8_t mu_law(int sample) {
  int sign = sample < 0 ? 0x80 : 0, magnitude = abs(sample) > 32635 ? 32635 : abs(sample), exponent = 7;
  magnitude += 0x84;
  while (exponent > 0 && !(magnitude & (0x80 << exponent))) exponent--;
  return (uint8_t)~(sign | exponent << 4 | (magnitude >> (exponent + 3) & 0x0f));
}

/* Packet `number` of the tone (RFC 3550 §5.1). */
static void write_packet(uint8_t *packet, uint32_t number) {
  uint32_t timestamp = number * SAMPLES;
  const uint8_t header[HEADER] = {0x80, 0, (uint8_t)(number >> 8), (uint8_t)number,
                                  (uint8_t)(timestamp >> 24), (uint8_t)(timestamp >> 16), (uint8_t)(timestamp >> 8),
                                  (uint8_t)timestamp, 'm', 's', 'm', 0};
  for (int at = 0; at < HEADER; at++) packet[at] = header[at];
  for (uint32_t at = 0; at < SAMPLES; at++)
    packet[HEADER + at] = mu_law((int)(8000 * sin(2 * 3.14159265358979 * 440 * (timestamp + at) / 8000)));
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: %s URL [SECONDS]\n", argv[0]);
    return 2;
  }
  uint32_t packets = 50 * (argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 3600);
  msm_mesh *mesh = NULL;
  msm_publisher *publisher = NULL;
  msm_result result = msm_mesh_start(NULL, &mesh);
  if (result != MSM_RESULT_OK) return failed("start", result);
  result = msm_mesh_publish(mesh, argv[1], sdp, NULL, &publisher);
  if (result != MSM_RESULT_OK) return failed(argv[1], result);

  int room = -1, clock = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  const struct itimerspec each = {{0, 20000000}, {0, 20000000}};
  if (clock < 0 || timerfd_settime(clock, 0, &each, NULL) != 0) return perror("timerfd"), 1;
  result = msm_publisher_fd(publisher, &room);
  if (result != MSM_RESULT_OK) return failed("fd", result);

  uint64_t due = 0;
  uint32_t number = 0;
  while (number < packets) {
    /* For the clock until a packet is due; for room as long as one is. */
    struct pollfd wait[] = {{.fd = clock, .events = POLLIN}, {.fd = due > 0 ? room : -1, .events = POLLIN}};
    if (poll(wait, 2, -1) < 0) return perror("poll"), 1;
    uint64_t passed;
    if (wait[0].revents && read(clock, &passed, sizeof passed) == sizeof passed) due += passed;
    while (due > 0 && number < packets) {
      uint8_t packet[HEADER + SAMPLES];
      write_packet(packet, number);
      result = msm_publisher_send(publisher, 0, packet, sizeof packet, 0);
      if (result == MSM_RESULT_AGAIN) break;
      if (result != MSM_RESULT_OK) return failed("send", result);
      due--;
      number++;
    }
  }
  close(clock);
  msm_publisher_free(publisher);
  msm_mesh_free(mesh);
  return 0;
}
