#include "engine/verify/verify.h"

namespace qwend::verify {

std::vector<std::string_view> default_prompts() {
  return {
      "The library opens at nine. Behind the counter, an old clock ticks louder than the rain, and somebody "
      "has left "
      "a note on the desk: \"Back in 15 minutes\". Nobody believes it. In 1987 the same note hung there for "
      "3 days.\n"
      "Die Straßenbahn hält an der nächsten Ecke; wer aussteigen möchte, drückt den Knopf. Heute kostet die "
      "Fahrt "
      "2,80 €.\n"
      "Le boulanger ouvre à six heures, mais l'odeur du pain réveille déjà toute la rue.\n"
      "今天下午的会议改到三点半，请带上新的设计图。窗外下着小雨，街上的人都撑着伞。\n"
      "明日の朝、駅の前で会いましょう。切符はもう買ってあります。\n"
      "Завтра обещают снег, поэтому мы выезжаем раньше. مرحبا بكم في المدينة القديمة.\n"
      "def median(values):\n    ordered = sorted(values)\n    middle = len(ordered) // 2\n"
      "    if len(ordered) % 2:\n        return ordered[middle]\n"
      "    return (ordered[middle - 1] + ordered[middle]) / 2\n\n"
      "SELECT city, COUNT(*) FROM trips WHERE km > 12.5 GROUP BY city ORDER BY 2 DESC;\n",
      "for (int i = 0; i < n; ++i) { total += weights[i] * values[i]; }",
      "What is the capital of Portugal, and on which river does it lie?",
  };
}

}  // namespace qwend::verify
