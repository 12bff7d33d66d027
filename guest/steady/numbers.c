/*
 * Steady load: floating point, in pages of which nearly every word changes and nothing compresses. `numbers stencil` relaxes
 * a grid of random numbers, `numbers fft` transforms a random signal, shifts it a little and transforms it back.
 */
#include <complex.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 1024, COLUMNS = 2048, POINTS = 1 << 19 };

static double grids[2][ROWS][COLUMNS];
static double complex signal[POINTS], turns[POINTS / 2];

static double any(void) { return (double)random() / RAND_MAX - 0.5; }

static void relax(const double from[ROWS][COLUMNS], double to[ROWS][COLUMNS]) {
  for (int y = 1; y < ROWS - 1; y++) {
    for (int x = 1; x < COLUMNS - 1; x++) {
      to[y][x] = from[y][x] * 0.6 + (from[y - 1][x] + from[y + 1][x] + from[y][x - 1] + from[y][x + 1]) * 0.1;
    }
  }
}

static void stencil(void) {
  for (int y = 0; y < ROWS; y++)
    for (int x = 0; x < COLUMNS; x++) grids[0][y][x] = grids[1][y][x] = any();
  for (int step = 0;; step++) relax(grids[step % 2], grids[(step + 1) % 2]);
}

static void transform(int forward) {
  for (int i = 1, j = 0; i < POINTS; i++) {
    int bit = POINTS / 2;
    for (; j & bit; bit /= 2) j ^= bit;
    j ^= bit;
    if (i < j) {
      double complex kept = signal[i];
      signal[i] = signal[j];
      signal[j] = kept;
    }
  }
  for (int length = 2; length <= POINTS; length *= 2) {
    int stride = POINTS / length;
    for (int start = 0; start < POINTS; start += length) {
      for (int i = 0; i < length / 2; i++) {
        double complex turn = turns[i * stride];
        double complex odd = signal[start + i + length / 2] * (forward ? turn : conj(turn));
        signal[start + i + length / 2] = signal[start + i] - odd;
        signal[start + i] += odd;
      }
    }
  }
}

static void fft(void) {
  for (int i = 0; i < POINTS / 2; i++) turns[i] = cexp(-2 * M_PI * I * i / POINTS);
  for (int i = 0; i < POINTS; i++) signal[i] = any();
  for (;;) {
    transform(1);
    for (int i = 0; i < POINTS; i++) signal[i] *= turns[(i * 7) % (POINTS / 2)] / POINTS;
    transform(0);
  }
}

int main(int count, char **words) {
  printf("load ready\n");
  fflush(stdout);
  if (count > 1 && strcmp(words[1], "fft") == 0) fft();
  stencil();
}
