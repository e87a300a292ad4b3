// Each line is a task of a pool, which is waited for; some tasks sleep, and a timer ticks beside them.
import java.io.*;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.*;

public class Pool {
    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        FileOutputStream side = new FileOutputStream(System.getenv("SIDE"), true);
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, "UTF-8");
        ScheduledExecutorService pool = Executors.newScheduledThreadPool(4, task -> {
            Thread thread = new Thread(task);
            thread.setDaemon(true);
            return thread;
        });
        pool.scheduleAtFixedRate(() -> {}, 1, 1, TimeUnit.SECONDS);
        String line;
        for (long number = 0; (line = lines.readLine()) != null; number++) {
            final String text = line;
            final long sleeps = number % 50 == 0 ? 20 : 0;
            pool.submit(() -> {
                if (sleeps > 0) {
                    Thread.sleep(sleeps);
                }
                out.println(text);
                out.flush();
                side.write((text + "\n").getBytes(StandardCharsets.UTF_8));
                return null;
            }).get();
        }
    }
}
