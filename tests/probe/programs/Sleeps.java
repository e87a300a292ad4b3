import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

public class Sleeps {
    public static void main(String[] args) throws Exception {
        Executors.newScheduledThreadPool(2).scheduleAtFixedRate(() -> { }, 60, 60, TimeUnit.SECONDS);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        String line;
        while ((line = in.readLine()) != null) {
            Thread.sleep(250);
            System.out.println(line);
        }
        System.exit(0);
    }
}
