// What the word count, whoever writes its lines and whoever judges it agree on.

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;

final class Words {
    static final String APPLICATION = "word-count";
    static final String LINES = "lines";
    static final String COUNTS = "counts";
    static final String WINDOWED = "windowed";
    static final int PARTITIONS = 4;
    static final long WINDOW_MS = 10_000;
    /** What the application asks of its changelog, so that it is compacted while the suite runs. */
    static final Map<String, String> CHANGELOG_ASKED =
            Map.of("segment.ms", "1000", "min.cleanable.dirty.ratio", "0.01", "min.compaction.lag.ms", "0");

    private Words() {}

    /** The name of a word within the window that holds a time. */
    static String inWindow(String word, long timestampMs) {
        return word + "@" + timestampMs / WINDOW_MS * WINDOW_MS;
    }

    /** Counts by name, of a file of lines `name TAB count`; none where there is no file. */
    static Map<String, Long> read(Path file) throws IOException {
        Map<String, Long> counts = new TreeMap<>();
        if (Files.exists(file)) {
            for (String line : Files.readAllLines(file)) {
                int tab = line.indexOf('\t');
                counts.put(line.substring(0, tab), Long.parseLong(line.substring(tab + 1)));
            }
        }
        return counts;
    }
}
