// Kafka's Java client in the client matrix: java Driver BOOTSTRAP SCENARIO PREFIX runs one scenario. Every topic and
// group that it makes begins with PREFIX. Ends with 0 and the line `pass`, or `n/a: FUNCTION`; else says what it expected.

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.apache.kafka.clients.admin.AdminClient;

public final class Driver {
    /** What any wait ends by. */
    static final long PATIENCE_MS = 60_000;

    static String bootstrap;
    static String scenario;
    static String prefix;
    static AdminClient admin;

    /** The client has no such function. */
    static final class Lacks extends RuntimeException {
        Lacks(String function) {
            super(function);
        }
    }

    interface Scenario {
        void run() throws Exception;
    }

    public static void main(String[] arguments) {
        bootstrap = arguments[0];
        scenario = arguments[1];
        prefix = arguments[2];
        int status = 0;
        try (AdminClient made = AdminClient.create(properties())) {
            admin = made;
            scenario().run();
            System.out.println("pass");
        } catch (Lacks lacks) {
            System.out.println("n/a: " + lacks.getMessage());
        } catch (Throwable failure) {
            failure.printStackTrace();
            status = 1;
        }
        // Threads of members that failed don't keep the program.
        System.exit(status);
    }

    private static Scenario scenario() {
        switch (scenario) {
            case "topics":
                return Administration::topics;
            case "codecs":
                return Records::codecs;
            case "records":
                return Records::records;
            case "idempotent":
                return Records::idempotent;
            case "assign":
                return Reading::assign;
            case "group":
                return () -> Groups.share("org.apache.kafka.clients.consumer.RangeAssignor", false);
            case "cooperative":
                return () -> Groups.share(Version.cooperative(), true);
            case "static":
                return Groups::fixed;
            case "offsets":
                return Reading::offsets;
            case "delete-records":
                return Reading::deleteRecords;
            case "large":
                return Records::large;
            case "admin":
                return Administration::all;
            case "restart":
                return Restart::run;
            default:
                throw new IllegalArgumentException("no scenario called " + scenario);
        }
    }

    static Properties properties() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        return properties;
    }

    static void expect(boolean holds, String what) {
        if (!holds) {
            throw new IllegalStateException(what);
        }
    }

    static void equal(Object found, Object wanted, String what) {
        expect(wanted.equals(found), what + " is " + found + ", not " + wanted);
    }

    /** Waits for a condition, which is asked again and again. */
    static void until(String what, Callable<Boolean> holds) throws Exception {
        until(() -> what, holds);
    }

    static void until(Supplier<String> what, Callable<Boolean> holds) throws Exception {
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(PATIENCE_MS);
        while (!holds.call()) {
            if (System.nanoTime() > end) {
                throw new IllegalStateException(what.get() + ": not within " + PATIENCE_MS + " ms");
            }
            Thread.sleep(10);
        }
    }

    static <T> T get(Future<T> future) throws Exception {
        return future.get(PATIENCE_MS, TimeUnit.MILLISECONDS);
    }

    /** Something must be refused, with this error. */
    static void refused(Future<?> future, String error) throws Exception {
        try {
            get(future);
        } catch (ExecutionException refusal) {
            equal(refusal.getCause().getClass().getSimpleName(), error, "the refusal (" + refusal.getCause() + ")");
            return;
        }
        throw new IllegalStateException("not refused with " + error);
    }

    /** Has the broker killed and started again. */
    static void restart() throws IOException {
        System.out.println("restart");
        System.out.flush();
        String answer = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)).readLine();
        equal(answer, "restarted", "the answer to restart");
    }
}
